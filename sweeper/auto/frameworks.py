"""Add the callbacks of `sweeper.integrations` to the Trainers of transformers and Lightning that a script makes.

The callbacks know more than the hooks of optimizers: the planned steps, the logged metrics, the gradients before
clipping, and how to stop with the framework's own checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from sweeper.auto.replacing import call_after
from sweeper.auto.session import Session
from sweeper.worker.trial import Trial

TRAINERS = ("transformers.trainer", "lightning.pytorch.trainer.trainer")
"""The modules with a class `Trainer`."""


def install(session: Session, module: ModuleType) -> None:
    """Add a callback to each Trainer of this module, unless the script has added one."""
    transformers = module.__name__.startswith("transformers")
    add = _add_to_transformers if transformers else _add_to_lightning
    call_after(
        module.Trainer, "__init__", lambda trainer: session.guarded("adding a callback", _add, session, trainer, add)
    )


def _add(session: Session, trainer: Any, add: Callable[[Session, Any, Trial], None]) -> None:
    if (trial := session.trial) is not None:
        add(session, trainer, trial)


def _add_to_transformers(session: Session, trainer: Any, trial: Trial) -> None:
    from sweeper.integrations import HuggingFaceCallback

    class Added(HuggingFaceCallback):
        """The callback, which takes over from the hooks of optimizers when training begins."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _take_over(session, trial, "transformers.Trainer")
            super().on_train_begin(args, state, control, **kwargs)

    if not any(isinstance(one, HuggingFaceCallback) for one in trainer.callback_handler.callbacks):
        trainer.add_callback(Added(trial))


def _add_to_lightning(session: Session, trainer: Any, trial: Trial) -> None:
    from sweeper.integrations import LightningCallback

    class Added(LightningCallback):
        """The callback, which takes over from the hooks of optimizers when training begins."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            _take_over(session, trial, "lightning.Trainer")
            super().on_train_start(trainer, pl_module)

    if not any(isinstance(one, LightningCallback) for one in trainer.callbacks):
        trainer.callbacks.append(Added(trial))


def _take_over(session: Session, trial: Trial, name: str) -> None:
    session.infer("trainer", [name])
    if session.training is not None:
        session.training.leave_to_callback(trial)
