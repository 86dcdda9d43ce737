"""The tensors that one optimizer updates, through one step of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import torch

from sweeper.worker.layers import Watched
from sweeper.worker.scaler import scale_of, skips
from sweeper.worker.shards import local
from sweeper.worker.statistics import GRADIENT_ROWS, UPDATE_ROWS, Measure

UNITS = 3
"""Rows of a tensor that are compared: if a few units of a layer differ, its units are not all equal."""
EQUAL = 1e-3
"""Rows are equal if they differ by no more than this part of the largest entry: sums are rounded row by row."""


class Part:
    """Takes the sums of the gradients before a step, and of what the step did after it.

    Attributes:
        watched: the tensors, those of one device side by side; one column each in the sums.
        calls: how often the optimizer's step was called.
        stepped: whether it was called in the turn at hand.
        repeats: how often it was called in the turn at hand after the first time.
        idle: whether it has not stepped for so long that no turn waits for it.
        clipped: whether the gradients were taken as the optimizer was given them.
        missing: which of the watched tensors had no gradient when the gradients were taken, tensor by tensor.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, watched: Sequence[Watched], *, norm_only: bool) -> None:
        self.optimizer = optimizer
        self.watched = sorted(watched, key=_device)
        self.calls = 0
        self.stepped = False
        self.repeats = 0
        self.idle = False
        self.clipped = True
        self.missing = [True] * len(self.watched)
        self._norm_only = norm_only
        self._groups = [list(group) for _, group in groupby(self.watched, key=_device)]
        self._measure = Measure()
        self._before: list[list[torch.Tensor]] = []
        self._gradients: list[torch.Tensor] | None = None
        self._updates: list[torch.Tensor] | None = None

    def take_gradients(self, *, clipped: bool) -> None:
        """Take the gradients as they are now."""
        self.clipped = clipped
        self.missing = [one.tensor.grad is None for one in self.watched]
        scratch = self._buffers() if self._on_accelerator() and not self._norm_only else []
        self._gradients = [
            self._measure.gradients(
                [None if one.tensor.grad is None else local(one.tensor.grad) for one in group],
                norm_only=self._norm_only,
                scratch=scratch[index] if scratch else (),
            )
            for index, group in enumerate(self._groups)
        ]

    def before(self) -> None:
        """The step is about to be taken: gradients, where nobody looked at them before, and parameters."""
        if self._gradients is None:
            self.take_gradients(clipped=True)
        assert self._gradients is not None  # noqa: S101 - the line before took them
        scale = scale_of(self.optimizer)
        if scale is not None:
            self._gradients = [_unscaled(sums, scale, norm_only=self._norm_only) for sums in self._gradients]
        if not self._norm_only:
            for buffers, group in zip(self._buffers(), self._groups, strict=True):
                torch._foreach_copy_(buffers, [local(one.tensor) for one in group])

    def equal_units(self) -> torch.Tensor:
        """Return for each watched tensor whether its first rows are equal: 1, 0, or NaN where that is unknown."""
        with torch.no_grad():
            found = [_rows_are_equal(one.tensor) for one in self.watched]
        if not found:
            return torch.empty(0)
        return torch.stack([one.to(found[0].device, non_blocking=True) for one in found])

    def after(self) -> None:
        """The step was taken."""
        if self._gradients is None or self._norm_only:
            return
        self._updates = [
            self._measure.updates(buffers, [local(one.tensor) for one in group])
            for buffers, group in zip(self._before, self._groups, strict=True)
        ]
        skipped = skips(self.optimizer)
        if skipped is not None:  # weights that were left alone are no update of size 0
            self._updates = [_without_update(sums, skipped) for sums in self._updates]

    def take(self) -> torch.Tensor | None:
        """The sums of the turn, one column a tensor, on the first tensor's device; None where nothing was seen."""
        gradients, updates = self._gradients, self._updates
        self._gradients = self._updates = None
        self.stepped = False
        self.repeats = 0
        if gradients is None:
            return None
        if self._norm_only:
            columns = gradients
        else:
            updates = updates or [sums.new_full((UPDATE_ROWS, sums.shape[1]), math.nan) for sums in gradients]
            columns = [torch.cat(pair) for pair in zip(gradients, updates, strict=True)]
        device = columns[0].device
        return torch.cat([sums.to(device, non_blocking=True) for sums in columns], dim=1)

    def nothing(self) -> torch.Tensor:
        """What `take` gives of tensors that nobody saw."""
        rows = 1 if self._norm_only else GRADIENT_ROWS + UPDATE_ROWS
        device = self.watched[0].tensor.device if self.watched else None
        return torch.full((rows, len(self.watched)), math.nan, dtype=torch.float64, device=device)

    def _buffers(self) -> list[list[torch.Tensor]]:
        """As much memory as the watched tensors take, kept from observation to observation."""
        if not self._before:
            self._before = [[torch.empty_like(local(one.tensor)) for one in group] for group in self._groups]
        return self._before

    def _on_accelerator(self) -> bool:
        return any(one.tensor.device.type != "cpu" for one in self.watched)


def _rows_are_equal(tensor: torch.Tensor) -> torch.Tensor:
    whole = tensor.detach()
    if hasattr(whole, "placements") or whole.dim() < 2 or whole.shape[0] < 2:  # noqa: PLR2004 - a shard, or one unit
        return torch.full((), math.nan, device=local(whole).device)
    rows = whole[:UNITS]
    return ((rows - rows[:1]).abs().amax() <= EQUAL * rows.abs().amax()).float()


def _device(one: Watched) -> str:
    return str(one.tensor.device)


def _unscaled(sums: torch.Tensor, scale: torch.Tensor, *, norm_only: bool) -> torch.Tensor:
    """The sums of gradients that a gradient scaler had multiplied by `scale`."""
    inverse = scale.to(sums.device, non_blocking=True).double().reciprocal().reshape(1)
    one = torch.ones_like(inverse)
    factors = inverse.square() if norm_only else torch.cat([one, inverse, inverse.square(), inverse])
    return sums * factors.unsqueeze(1)


def _without_update(sums: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    parameter, update = sums
    skipped = skipped.to(sums.device, non_blocking=True).reshape(())
    return torch.stack([parameter, torch.where(skipped > 0, math.nan, update)])
