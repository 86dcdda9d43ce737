"""W&B: `wandb.log`, `Run.log`, and values set in the summary."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the methods of a run, which `wandb.log` calls, or prepare the package for the trial."""
    match module.__name__:
        case "wandb":
            from sweeper.auto.wandb import package

            package.prepare(module)
        case "wandb.sdk.wandb_run":
            tap(module.Run, "log", log, "wandb.log", _log)
        case "wandb.sdk.wandb_summary":
            tap(module.Summary, "update", log, "wandb.summary", _update)
        case "wandb.sdk.lib.noop_run":
            tap(module.NoopRun, "log", log, "wandb.log", _log)
        case _:
            # In older versions, the run of mode="disabled" logs by updating this dictionary.
            tap(module.SummaryDisabled, "update", log, "wandb.summary", _update)
            tap(module.SummaryDisabled, "__setitem__", log, "wandb.summary", _set)
            module.SummaryDisabled.__setattr__ = module.SummaryDisabled.__setitem__


def _log(_run: object, data: Mapping[str, object], step: object = None, *_: object, **__: object) -> Logged:
    return [(data, step)]


def _update(_summary: object, d: Mapping[str, object] = {}, **values: object) -> Logged:
    return [({**d, **values}, None)]


def _set(_summary: object, key: str, value: object) -> Logged:
    if isinstance(value, Mapping):  # the dictionary wraps an inner mapping when it is read
        return []
    return [({key: value}, None)]
