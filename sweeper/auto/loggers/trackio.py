"""Trackio: `trackio.log` and `Run.log`."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the method of a run, which `trackio.log` calls."""
    tap(module.Run, "log", log, "trackio.log", _log)


def _log(_run: object, metrics: Mapping[str, object], step: object = None) -> Logged:
    return [(metrics, step)]
