"""transformers' `Trainer.log`, which all of its callbacks and the script's own calls go through."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sweeper.auto.loggers.base import Log, Logged, tap


def install(module: ModuleType, log: Log) -> None:
    """Wrap the method."""
    tap(module.Trainer, "log", log, "Trainer.log", _log)


def _log(trainer: Any, logs: Mapping[str, object], *_: object, **__: object) -> Logged:
    if any(type(callback).__module__.startswith("sweeper.") for callback in trainer.callback_handler.callbacks):
        return []  # sweeper's own callback records these metrics
    return [(logs, trainer.state.global_step)]
