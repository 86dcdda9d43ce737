"""Aim: `Run.track`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the method of a run."""
    tap(module.Run, "track", log, "Run.track", _track)


def _track(
    _self: object,
    value: object,
    name: str | None = None,
    step: object = None,
    *_: object,
    context: Mapping[str, object] | None = None,
    **__: object,
) -> Logged:
    """Return the value. The values of its context become part of its name, as in `loss/val`."""
    values = value if isinstance(value, Mapping) else {name: value}
    context_values = [str(part) for part in (context or {}).values()]
    return [({"/".join([str(key), *context_values]): number for key, number in values.items()}, step)]
