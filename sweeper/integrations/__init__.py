"""Callbacks for libraries that own the training loop. Each callback and its library are imported on first use.

from sweeper.integrations import HuggingFaceCallback  # for transformers.Trainer
from sweeper.integrations import LightningCallback    # for lightning.pytorch.Trainer
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.integrations.huggingface import HuggingFaceCallback
    from sweeper.integrations.lightning import LightningCallback

__all__ = ["HuggingFaceCallback", "LightningCallback"]

_MODULES = {"HuggingFaceCallback": "huggingface", "LightningCallback": "lightning"}
_EXTRAS = {"HuggingFaceCallback": "trainer", "LightningCallback": "lightning"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ModuleNotFoundError as error:
        message = f'{name} needs {error.name}, which is not installed. Run: pip install "sweeper[{_EXTRAS[name]}]"'
        raise ImportError(message) from error
    return getattr(module, name)
