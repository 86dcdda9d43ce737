"""accelerate: `Accelerator.log`, and a tracker that is used directly."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap, tap_subclasses


def install(module: ModuleType, log: Log) -> None:
    """Wrap the accelerator's method, and that of each tracker, also of the user's own."""
    if module.__name__ == "accelerate.tracking":
        tap_subclasses(module.GeneralTracker, "log", log, _log)
    else:
        tap(module.Accelerator, "log", log, "Accelerator.log", _log)


def _log(_self: object, values: Mapping[str, object], step: object = None, *_: object, **__: object) -> Logged:
    return [(values, step)]
