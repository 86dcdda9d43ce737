"""Measure the gradients before a step of an optimizer, and the updates after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import torch

from sweeper.worker.watch.layers import Watched
from sweeper.worker.watch.scaler import scale_of, skips
from sweeper.worker.watch.shards import local
from sweeper.worker.watch.statistics import GRADIENT_ROWS, UPDATE_ROWS, Measure

UNITS = 3
"""Number of rows of a tensor that are compared: if a few units of a layer differ, its units are not all equal."""
EQUAL = 1e-3
"""Rows are equal if they differ by at most this share of the largest entry, because sums are rounded row by row."""


class WatchedOptimizer:
    """An optimizer with its watched tensors; computes the sums of an observed step.

    A step here is a step of all optimizers together (see `watch`), in which this one may step several times.

    Attributes:
        optimizer: the optimizer.
        watched: its watched tensors, grouped by device; each has a column in the sums.
        step_calls: the number of calls of the optimizer's `step` so far.
        stepped: whether it has stepped in the current step.
        repeats: the number of its further calls in the current step.
        idle: whether it has not stepped for so long that a step does not wait for it.
        clipped: whether the gradients were measured as the optimizer uses them, after any clipping.
        missing: for each watched tensor, whether it had no gradient when gradients were measured.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, watched: Sequence[Watched], *, norm_only: bool) -> None:
        self.optimizer = optimizer
        self.watched = sorted(watched, key=_device)
        self.step_calls = 0
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
        self._hidden: list[tuple[torch.Tensor, torch.Tensor]] = []

    @property
    def is_measured(self) -> bool:
        """Whether the gradients of the current step are measured already."""
        return self._gradients is not None

    @property
    def withheld(self) -> bool:
        """Whether the current step is skipped, because its gradients are hidden from the optimizer."""
        return bool(self._hidden)

    def withhold(self) -> None:
        """Skip the current step: hide the gradients from the optimizer until `give_back`.

        Optimizers pass over a parameter without a gradient: they change neither it nor its state, and count no step.
        """
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._hidden.append((parameter, parameter.grad))
                    parameter.grad = None

    def give_back(self) -> None:
        """Let the parameters have their gradients again, unless they have new ones."""
        hidden, self._hidden = self._hidden, []
        for parameter, gradient in hidden:
            if parameter.grad is None:
                parameter.grad = gradient

    def measure_gradients(self, *, clipped: bool) -> None:
        """Measure the current gradients."""
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

    def before_step(self) -> None:
        """Measure the gradients, unless this was done already, and copy the parameters."""
        if self._gradients is None:
            self.measure_gradients(clipped=True)
        assert self._gradients is not None  # noqa: S101 - measured in the line before
        scale = scale_of(self.optimizer)
        if scale is not None:
            self._gradients = [_unscaled(sums, scale, norm_only=self._norm_only) for sums in self._gradients]
        if not self._norm_only:
            for buffers, group in zip(self._buffers(), self._groups, strict=True):
                torch._foreach_copy_(buffers, [local(one.tensor) for one in group])

    def equal_units(self) -> torch.Tensor:
        """Return for each watched tensor whether its first rows are equal: 1 or 0, or NaN if that is unknown."""
        with torch.no_grad():
            found = [_rows_are_equal(one.tensor) for one in self.watched]
        if not found:
            return torch.empty(0)
        return torch.stack([one.to(found[0].device, non_blocking=True) for one in found])

    def after_step(self) -> None:
        """Measure the updates."""
        if self._gradients is None or self._norm_only:
            return
        self._updates = [
            self._measure.updates(buffers, [local(one.tensor) for one in group])
            for buffers, group in zip(self._before, self._groups, strict=True)
        ]
        skipped = skips(self.optimizer)
        if skipped is not None:  # a skipped step is no update of size 0
            self._updates = [_without_update(sums, skipped) for sums in self._updates]

    def take(self) -> torch.Tensor | None:
        """Return the sums of the step, one column per tensor, on the first tensor's device; None if not measured."""
        gradients, updates = self._gradients, self._updates
        self._gradients = self._updates = None
        self.stepped = False
        self.repeats = 0
        if not gradients:  # not measured, or no tensor of this optimizer is watched
            return None
        if self._norm_only:
            columns = gradients
        else:
            updates = updates or [sums.new_full((UPDATE_ROWS, sums.shape[1]), math.nan) for sums in gradients]
            columns = [torch.cat(pair) for pair in zip(gradients, updates, strict=True)]
        device = columns[0].device
        return torch.cat([sums.to(device, non_blocking=True) for sums in columns], dim=1)

    def unmeasured(self) -> torch.Tensor:
        """Return sums of NaN, for tensors that were not measured in the step."""
        rows = 1 if self._norm_only else GRADIENT_ROWS + UPDATE_ROWS
        device = self.watched[0].tensor.device if self.watched else None
        return torch.full((rows, len(self.watched)), math.nan, dtype=torch.float64, device=device)

    def _buffers(self) -> list[list[torch.Tensor]]:
        """Return buffers like the watched tensors, which are reused at each observation."""
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
    """Return the sums of the true gradients from those of gradients that a scaler multiplied by `scale`."""
    inverse = scale.to(sums.device, non_blocking=True).double().reciprocal().reshape(1)
    one = torch.ones_like(inverse)
    factors = inverse.square() if norm_only else torch.cat([one, inverse, inverse.square(), inverse])
    return sums * factors.unsqueeze(1)


def _without_update(sums: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    parameter, update = sums
    skipped = skipped.to(sums.device, non_blocking=True).reshape(())
    return torch.stack([parameter, torch.where(skipped > 0, math.nan, update)])
