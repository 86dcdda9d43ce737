"""Statistics of gradients and updates per tensor, computed where the tensors are, each element read once or nearly so.

What is computed of a tensor are *sums*, because sums of parts add up to the sums of the whole: parts are the chunks of
a tensor that fit a CPU's cache, the shards that lie on other ranks, and the zeros that a sparse gradient leaves out.
The rows of a table of sums, one column a tensor, in float64:

    0 nonzero entries of the gradient    1 sum of |gradient|    2 sum of gradient^2    3 max |gradient|
    4 sum of parameter^2 before the step                        5 sum of (after - before)^2

`finished` makes the recorded statistics of them (`record.profile.STATISTICS`). In float64 the variance, square mean
minus squared mean, loses at most 1e-16 of the square mean to cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

GRADIENT_ROWS, UPDATE_ROWS = 4, 2
MAXIMUM = 3
CHUNK = 1 << 18
"""Entries of a tensor that are looked at together on a CPU: their magnitudes, 1 MiB, stay in its cache."""
PIECE = 1 << 17
"""Entries whose squares are added up in float32 before float64 takes over; a longer sum loses digits."""
SAFE_SQUARES = (1e-30, 1e30)
"""A sum of squares between these was computed in float32 without losing entries to underflow, or itself to overflow."""


class Measure:
    """Computes the sums of tensors on one device; keeps a scratch buffer between the calls."""

    def __init__(self) -> None:
        self._scratch: dict[torch.dtype, torch.Tensor] = {}

    def gradients(
        self, gradients: Sequence[torch.Tensor | None], *, norm_only: bool, scratch: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """Rows 0 to 3, or row 2 alone; NaN in the column of a tensor without gradient.

        `scratch`: tensors like the gradients that may be overwritten; used on an accelerator, to count zeros.
        """
        rows = 1 if norm_only else GRADIENT_ROWS
        present = [index for index, gradient in enumerate(gradients) if gradient is not None]
        values = [gradient.detach() for gradient in gradients if gradient is not None]
        if not values:
            return torch.full((rows, len(gradients)), math.nan, dtype=torch.float64)
        if any(value.is_sparse for value in values):  # what it holds has another shape than the scratch
            values, scratch = [value.coalesce().values() if value.is_sparse else value for value in values], ()
        if values[0].device.type == "cpu":
            table = _table([self._square(v)] if norm_only else self._gradient(v) for v in values)
        elif norm_only:
            table = _norms(values, 2).square().unsqueeze(0)
        else:
            table = gradients_by_foreach(values, [scratch[index] for index in present] if scratch else [])
        if len(present) == len(gradients):
            return table
        missing = table.new_full((rows,), math.nan)
        columns = dict(zip(present, table.unbind(1), strict=True))
        return torch.stack([columns.get(index, missing) for index in range(len(gradients))], dim=1)

    def updates(self, before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
        """Rows 4 and 5. On an accelerator `before` is overwritten, with what the step changed."""
        if not before or before[0].device.type == "cpu":
            return _table([self._square(old), self._change(old, new)] for old, new in zip(before, after, strict=True))
        return updates_by_foreach(before, after)

    # ---- on the CPU: in chunks that stay in the cache ---------------------------------------------------------------

    def _gradient(self, gradient: torch.Tensor) -> list[float]:
        nonzero, total, squares, largest = 0.0, 0.0, 0.0, 0.0
        for chunk in _chunks(gradient):
            room = self._room(chunk)
            magnitudes = torch.abs(chunk, out=room) if chunk.dtype == room.dtype else room.copy_(chunk).abs_()
            peak, sum_ = magnitudes.amax().item(), magnitudes.sum().item()
            mean = sum_ / chunk.numel()
            nonzero += chunk.count_nonzero().item()
            total += sum_
            squares += _dot(magnitudes.sub_(mean)) + mean * sum_  # about the mean: nothing cancels in float32
            largest = peak if not peak <= largest else largest  # a NaN stays
        return [nonzero, total, squares, largest]

    def _square(self, tensor: torch.Tensor) -> float:
        return sum(_dot(self._wide(chunk)) for chunk in _chunks(tensor))

    def _change(self, before: torch.Tensor, after: torch.Tensor) -> float:
        pairs = zip(_chunks(before), _chunks(after), strict=True)
        return sum(_dot(self._difference(old, new)) for old, new in pairs)

    def _difference(self, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        room = self._room(new)
        return torch.sub(new, old, out=room) if new.dtype == room.dtype else room.copy_(new).sub_(old)

    def _wide(self, chunk: torch.Tensor) -> torch.Tensor:
        return chunk if chunk.dtype in (torch.float32, torch.float64) else self._room(chunk).copy_(chunk)

    def _room(self, chunk: torch.Tensor) -> torch.Tensor:
        """Scratch of a chunk's size, in float32 or, for float64, in that."""
        dtype = torch.float64 if chunk.dtype == torch.float64 else torch.float32
        if dtype not in self._scratch:
            self._scratch[dtype] = torch.empty(CHUNK, dtype=dtype)
        return self._scratch[dtype][: chunk.numel()]


# ---- on an accelerator: one kernel over all tensors at a time, in float64 --------------------------------------------


def gradients_by_foreach(values: list[torch.Tensor], scratch: list[torch.Tensor]) -> torch.Tensor:
    """Rows 0 to 3; see `Measure.gradients`."""
    rows = [_norms(values, 1), _norms(values, 2).square(), _norms(values, math.inf)]
    if scratch:
        torch._foreach_copy_(scratch, values)
        torch._foreach_sign_(scratch)
        nonzero = _norms(scratch, 1)
    else:
        nonzero = torch.stack([value.count_nonzero() for value in values]).double()
    return torch.stack([nonzero, *rows])


def updates_by_foreach(before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
    """Rows 4 and 5; see `Measure.updates`."""
    norms = _norms(before, 2)
    torch._foreach_sub_(before, after)
    return torch.stack([norms, _norms(before, 2)]).square()


def finished(sums: torch.Tensor, sizes: torch.Tensor, rated: torch.Tensor) -> torch.Tensor:
    """The statistics of `record.profile.STATISTICS` from the six rows of sums.

    Args:
        sums: float64, shape (6, tensors).
        sizes: entries of each whole tensor, float64, shape (tensors,).
        rated: 1 where the update ratio means something, NaN where the tensor started at zero; same shape.

    Returns:
        float32, shape (tensors, 8); what float32 cannot hold becomes infinite or zero.
    """
    nonzero, total, squares, largest, parameter, update = sums.unbind()
    mean = total / sizes
    deviation = (squares / sizes - mean.square()).clamp(min=0).sqrt()
    ratio = torch.where(parameter > 0, (update / parameter).sqrt(), math.nan) * rated
    columns = [mean, largest, deviation, 1 - nonzero / sizes, squares.sqrt(), parameter.sqrt(), update.sqrt(), ratio]
    return torch.stack(columns, dim=1).float()


def _norms(tensors: Sequence[torch.Tensor], order: float) -> torch.Tensor:
    """One norm of each tensor; of a tensor without entries it is 0."""
    full = [tensor for tensor in tensors if tensor.numel()]
    norms: Iterator[torch.Tensor] = iter(torch._foreach_norm(full, order, dtype=torch.float64)) if full else iter(())
    zero = torch.zeros((), dtype=torch.float64, device=tensors[0].device) if len(full) < len(tensors) else None
    return torch.stack([next(norms) if tensor.numel() or zero is None else zero for tensor in tensors])


def _table(columns: Iterator[Sequence[float]]) -> torch.Tensor:
    return torch.tensor(list(columns), dtype=torch.float64).T


def _dot(values: torch.Tensor) -> float:
    """The sum of squares; of scaled values where float32 cannot hold the squares themselves."""
    squares: float = sum(torch.dot(piece, piece).item() for piece in _pieces(values, PIECE))
    if SAFE_SQUARES[0] < squares < SAFE_SQUARES[1] or math.isnan(squares):
        return squares
    scale: float = values.abs().amax().item()
    if scale == 0 or not math.isfinite(scale):
        return scale * scale
    scaled = values / scale
    unit: float = sum(torch.dot(piece, piece).item() for piece in _pieces(scaled, PIECE))
    return unit * scale * scale


def _chunks(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """All entries, in one-dimensional chunks; without a copy where they lie in memory without gaps."""
    if not tensor.numel():
        return ()
    if tensor.is_contiguous():
        flat = tensor if tensor.dim() == 1 else tensor.view(-1)
    elif torch.ops.aten.is_non_overlapping_and_dense(tensor):
        flat = tensor.as_strided((tensor.numel(),), (1,))
    else:
        flat = tensor.reshape(-1)
    return _pieces(flat, CHUNK)


def _pieces(flat: torch.Tensor, size: int) -> Sequence[torch.Tensor]:
    """The tensor in pieces of at most `size` entries; `split` costs as much as a norm where there is but one."""
    pieces: Sequence[torch.Tensor] = (flat,) if flat.numel() <= size else flat.split(size)
    return pieces
