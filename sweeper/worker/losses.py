"""Whether a loss function is given what it expects: looked at in the first observed steps, by PyTorch's own functions.

`cross_entropy` takes logits; given the output of a softmax, it still falls a little and then stays above 1. Squared
errors on one-hot classes behind a sigmoid or softmax have almost no gradient where the output is sure and wrong. Both
train without an error message. While one of the first `LOOKED_AT` observed steps lasts, the two public functions are
wrapped; the classes `CrossEntropyLoss` and `MSELoss` call them, and so do most libraries.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

LOOKED_AT = 3
TOLERANCE = 1e-3


class Losses:
    """Watches the calls of loss functions between `open` and `take`."""

    def __init__(self) -> None:
        self._left = LOOKED_AT
        self._seen: list[torch.Tensor] = []
        self._ends: list[Callable[[], None]] = []

    def open(self) -> None:
        """Watch until `take`; does nothing once enough steps were looked at."""
        if self._left > 0 and not self._ends:
            self._left -= 1
            self._ends = [
                _wrapped("cross_entropy", self._looks(_is_probabilities)),
                _wrapped("mse_loss", self._looks(_is_squared_classes)),
            ]

    def take(self) -> torch.Tensor | None:
        """Whether any call was a mismatch, 1.0 or 0.0, on the device of the call; None where none was watched."""
        for end in self._ends:
            end()
        self._ends.clear()
        seen, self._seen = self._seen, []
        return torch.stack([one.to(seen[0].device) for one in seen]).amax() if seen else None

    def _looks(self, mismatch: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., None]:
        def look(given: object, target: object) -> None:
            usual = type(given) is torch.Tensor and type(target) is torch.Tensor and torch.is_grad_enabled()
            if usual and given.requires_grad and given.dim() == 2 and given.shape[1] > 1:  # type: ignore[attr-defined]  # noqa: PLR2004 - checked before; examples by classes
                with torch.no_grad():
                    self._seen.append(mismatch(given.detach(), target).float())  # type: ignore[attr-defined,arg-type]  # checked before

        return look


def _is_probabilities(given: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Whether each row is a distribution already."""
    return ((given >= 0).all()) & ((given.sum(1) - 1).abs() < TOLERANCE).all()


def _is_squared_classes(given: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Whether a target is one class of several, and the output a sigmoid's or a softmax's."""
    if target.shape != given.shape:
        return torch.zeros((), device=given.device)
    one_hot = ((target == 0) | (target == 1)).all() & (target.sum(1) == 1).all()
    return one_hot & (given > 0).all() & (given < 1).all()


def _wrapped(name: str, look: Callable[..., None]) -> Callable[[], None]:
    """Call `look(input, target)` before each call of a loss function; returns what ends this."""
    original: Any = getattr(functional, name)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> object:
        given, target = (args[i] if len(args) > i else kwargs.get(word) for i, word in enumerate(("input", "target")))
        look(given, target)
        result: object = original(*args, **kwargs)
        return result

    def end() -> None:
        if getattr(functional, name) is call:
            setattr(functional, name, original)

    setattr(functional, name, call)
    return end
