"""Lightning: `Fabric.log`, the loggers of Fabric and Trainer, and the metrics that Trainer gives to its loggers."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sweeper.auto.loggers.base import Log, Logged, tap, tap_subclasses


def install(module: ModuleType, log: Log) -> None:
    """Wrap the methods that log metrics, under each of the names that Lightning is installed as."""
    if hasattr(module, "_LoggerConnector"):
        tap(module._LoggerConnector, "log_metrics", log, "LightningModule.log", _log_of_trainer)  # noqa: SLF001
    elif hasattr(module, "Fabric"):
        tap(module.Fabric, "log_dict", log, "Fabric.log", _log)  # Fabric.log calls it
    else:
        tap_subclasses(module.Logger, "log_metrics", log, _log)


def _log(_self: object, metrics: Mapping[str, object], step: object = None, *_: object, **__: object) -> Logged:
    return [(metrics, step)]


def _log_of_trainer(connector: Any, metrics: Mapping[str, object], step: object = None) -> Logged:
    if any(type(callback).__module__.startswith("sweeper.") for callback in connector.trainer.callbacks):
        return []  # sweeper's own callback records these metrics
    return [(metrics, step)]
