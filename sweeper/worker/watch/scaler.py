"""What a gradient scaler (torch.amp.GradScaler) does to an optimizer's steps.

Where it found a gradient that is not finite it leaves the step out, in one of two ways. An ordinary optimizer is not
called at all, so none of its hooks fire: that is noticed here, by a wrapper round the public `GradScaler.step`. A fused
one is called, with the finding and the scale as attributes, and decides on the device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def on_skipped(steps_of: Callable[[object], int], tell: Callable[[object], None]) -> Callable[[], None]:
    """Call `tell(optimizer)` when a scaler did not let it step; returns what ends this.

    Args:
        steps_of: how many steps of an optimizer have been seen so far.
    """
    scalers: Any = torch.amp.GradScaler  # its method is replaced, which no type allows
    original = scalers.step

    @functools.wraps(original)
    def step(scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> object:
        before = steps_of(optimizer)
        result: object = original(scaler, optimizer, *args, **kwargs)
        if steps_of(optimizer) == before:
            tell(optimizer)
        return result

    def end() -> None:
        if scalers.step is step:
            scalers.step = original

    scalers.step = step
    return end


def scale_of(optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """By what the gradients that a fused optimizer is about to take are too large; None where they are as they are."""
    scale: torch.Tensor | None = getattr(optimizer, "grad_scale", None)
    return scale


def skips(optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """Whether a fused optimizer leaves out the step it was called for, 1.0 or 0.0; None where no scaler is at work."""
    found: torch.Tensor | None = getattr(optimizer, "found_inf", None)
    return found
