"""Resume from a Lightning checkpoint with hyperparameters that are objects.

From Lightning 2.6 on, a checkpoint is loaded with `weights_only=True`, which refuses every class that torch does not
know. The classes of the module's own hyperparameters are allowed here: the script has just made such objects itself.
Everything else in a checkpoint is still refused.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Trainer

WEIGHTS_ONLY = (
    "Lightning does not load objects of other classes than those of the hyperparameters. "
    "If you trust the checkpoint, write trainer.fit(..., ckpt_path=callback.resume(), weights_only=False)"
)


def allow_hyperparameters(trainer: Trainer) -> None:
    """Let torch load what the hyperparameters of this module and its data module consist of."""
    owners = (trainer.lightning_module, getattr(trainer, "datamodule", None))
    for hyperparameters in (getattr(owner, "hparams", None) for owner in owners):
        if hyperparameters:
            torch.serialization.add_safe_globals(list(_parts(hyperparameters)))


def _parts(hyperparameters: Any) -> Iterable[Any]:  # noqa: ANN401 - a mapping of Lightning's, or of OmegaConf
    """Yield the classes and functions that a checkpoint with these hyperparameters names, each with its name there."""
    file = io.BytesIO()
    try:
        torch.save([hyperparameters, dict(hyperparameters), type(hyperparameters)], file)
    except Exception:  # noqa: BLE001 - whatever their own pickling raises: then no checkpoint has them either
        return
    file.seek(0)
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(file):
        if (found := _found(name)) is not None:
            yield found, name


def _found(name: str) -> object | None:
    """Return a class or function by its full name, such as `package.module.Outer.Inner`; None if there is none."""
    module, _, attribute = name.rpartition(".")
    while module:
        try:
            found: object = importlib.import_module(module)
            for word in attribute.split("."):
                found = getattr(found, word)
        except (ImportError, AttributeError):
            module, _, word = module.rpartition(".")
            attribute = f"{word}.{attribute}"
        else:
            return found
    return None


def is_refused(error: BaseException) -> bool:
    """Return whether torch has refused a checkpoint for a class that is not allowed."""
    return isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error)
