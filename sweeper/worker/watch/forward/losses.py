"""Check the arguments of loss functions in the first observed steps, by wrapping PyTorch's own functions.

Two facts follow from the arguments, but not from the value of the loss:

- *Whether the input fits the function.* `cross_entropy` expects logits; with the output of a softmax, the loss falls a
  little and then stays. Squared errors on one-hot classes behind a sigmoid or softmax have almost no gradient if the
  output is confident and wrong. Both train without an error message.
- *The loss of a constant prediction* for these targets: the entropy of the classes, or the variance of the targets. A
  run that is no better has learned nothing from its inputs, however far its loss has fallen from a bad start.

The public functions are wrapped during the first `CHECKED_STEPS` observed steps. Classes such as `CrossEntropyLoss`
call them, and so do most libraries. Nothing waits for a device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sweeper.worker.watch.forward.wrapping import FunctionWrapper, Safely, unsafely

CHECKED_STEPS = 5
CHECKED = ("cross_entropy", "nll_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy", "mse_loss")
"""The names of the functions that are checked."""
TOLERANCE = 1e-3
ENOUGH = 8
"""Minimum number of targets per class for an estimate of the entropy of the classes."""
FIELDS = ("mismatch", "value", "prior")
CheckResult = tuple[torch.Tensor, torch.Tensor]
"""Whether a call is a mismatch, and the loss of a constant prediction; both 0-d, NaN if unknown."""


class LossCalls:
    """Checks the calls of loss functions between `open` and `take`."""

    def __init__(self, safely: Safely = unsafely) -> None:
        self._left = CHECKED_STEPS
        self._is_open = False
        self._seen: list[torch.Tensor] = []
        self._counts: dict[int, torch.Tensor] = {}
        checks: Sequence[Callable[[torch.Tensor, torch.Tensor], CheckResult]] = (
            self._of_classes,
            self._of_classes,
            _of_binary,
            _of_binary,
            _of_squares,
        )
        self._wrappers = [
            FunctionWrapper(name, ("input", "target"), functools.partial(self._check, check), safely)
            for name, check in zip(CHECKED, checks, strict=True)
        ]

    def open(self) -> None:
        """Check calls until `take`; do nothing after the first few steps."""
        if self._left > 0 and not self._is_open:
            self._left -= 1
            self._is_open = True
            for wrapper in self._wrappers:
                wrapper.open()

    def take(self) -> torch.Tensor | None:
        """Stop checking; return `FIELDS`, shape (3,), of the call with the largest loss, or None without a call."""
        if self._is_open:
            self._is_open = False
            for wrapper in self._wrappers:
                wrapper.close()
        seen, self._seen = self._seen, []
        if not seen:
            return None
        table = torch.stack([one.to(seen[0].device) for one in seen])
        # index_select, because indexing with a tensor waits for the device
        (largest,) = table.index_select(0, table[:, 1].argmax().reshape(1))
        return torch.cat([table[:, :1].amax(0), largest[1:]])

    def _check(self, check: Callable[[torch.Tensor, torch.Tensor], CheckResult], *call: Any) -> None:
        given, target, loss = call
        usual = _is_plain(given) and _is_plain(target) and _is_plain(loss)
        if not (usual and torch.is_grad_enabled() and loss.dim() == 0 and given.numel() and target.numel()):
            return
        with torch.no_grad():
            mismatch, prior = check(given.detach(), target.detach())
            self._seen.append(torch.stack([one.float() for one in (mismatch, loss.detach(), prior)]))

    def _of_classes(self, given: torch.Tensor, target: torch.Tensor) -> CheckResult:
        """Return the entropy of the classes over all targets so far; NaN before there are enough of them."""
        rows = given.dim() == 2  # noqa: PLR2004 - examples by classes
        double = (given >= 0).all() & ((given.sum(1) - 1).abs() < TOLERANCE).all() if rows else given.new_zeros(())
        unknown = given.new_full((), torch.nan)
        if given.dim() < 2 or target.is_floating_point():  # noqa: PLR2004
            return double, unknown
        classes = given.shape[1]
        flat = target.flatten()
        counted = torch.zeros(classes + 1, dtype=torch.float64, device=given.device)
        inside = torch.where((flat >= 0) & (flat < classes), flat, classes)
        counted.scatter_add_(0, inside, torch.ones_like(inside, dtype=torch.float64))
        counts = self._counts[classes] = self._counts.get(classes, torch.zeros_like(counted[:-1])) + counted[:-1]
        total = counts.sum()
        shares = counts / total
        # Correction of Miller and Madow: the entropy of a sample is too small by (classes - 1) / 2n.
        entropy = -torch.special.xlogy(shares, shares).sum() + ((counts > 0).sum() - 1) / (2 * total)
        return double, torch.where(total >= ENOUGH * classes, entropy, torch.nan)


def _is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and not hasattr(value, "placements")


def _of_binary(given: torch.Tensor, target: torch.Tensor) -> CheckResult:
    share = target.double().mean()
    return given.new_zeros(()), -torch.special.xlogy(share, share) - torch.special.xlogy(1 - share, 1 - share)


def _of_squares(given: torch.Tensor, target: torch.Tensor) -> CheckResult:
    """Return the variance of the targets, of each column around its own mean."""
    if target.shape != given.shape:
        return given.new_zeros(()), given.new_full((), torch.nan)
    one_hot = ((target == 0) | (target == 1)).all() & (given > 0).all() & (given < 1).all()
    several = target.dim() == 2 and target.shape[1] > 1  # noqa: PLR2004 - examples by classes
    mismatch = one_hot & (target.sum(1) == 1).all() if several else given.new_zeros(())
    return mismatch, target.double().var(0, correction=0).mean()
