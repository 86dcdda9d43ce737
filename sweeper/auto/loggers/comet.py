"""Comet: `Experiment.log_metric` and `Experiment.log_metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the methods of all kinds of experiments."""
    tap(module.CometExperiment, "log_metric", log, "Experiment.log_metric", _log_metric)
    tap(module.CometExperiment, "log_metrics", log, "Experiment.log_metrics", _log_metrics)


def _log_metric(_self: object, name: str, value: object, step: object = None, *_: object, **__: object) -> Logged:
    return [({name: value}, step)]


def _log_metrics(
    _self: object, dic: Mapping[str, object], prefix: str | None = None, step: object = None, *_: object, **__: object
) -> Logged:
    return [({name if prefix is None else f"{prefix}_{name}": value for name, value in dic.items()}, step)]
