"""Detect the steps that a gradient scaler (torch.amp.GradScaler) skips.

A scaler skips a step if it found a gradient that is not finite. An ordinary optimizer is then not called, so that its
hooks do not run; this module detects it with a wrapper of the public `GradScaler.step`. A fused optimizer is called
with the result of the check and the scale as attributes, and decides on the device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def on_skipped(steps_of: Callable[[object], int], tell: Callable[[object], None]) -> Callable[[], None]:
    """Call `tell(optimizer)` whenever a scaler skips its step.

    Args:
        steps_of: returns the number of step calls of an optimizer so far.
        tell: the function to call.

    Returns:
        A function that ends this.
    """
    scalers: Any = torch.amp.GradScaler  # the type checker does not allow to replace a method
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
    """Return the factor of the gradients that a fused optimizer is given; None if they are not scaled."""
    scale: torch.Tensor | None = getattr(optimizer, "grad_scale", None)
    return scale


def skips(optimizer: torch.optim.Optimizer) -> torch.Tensor | None:
    """Return whether a fused optimizer skips the step, 1.0 or 0.0; None without a scaler."""
    found: torch.Tensor | None = getattr(optimizer, "found_inf", None)
    return found
