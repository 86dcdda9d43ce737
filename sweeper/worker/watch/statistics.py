"""Statistics of gradients and updates per tensor, computed on the device of the tensors in about one pass.

*Sums* are computed first, because the sums of parts can be added: parts are chunks of a tensor that fit a CPU's cache,
shards on other ranks, and the zeros that a sparse gradient leaves out. A table of sums has one column per tensor, in
float64, and these rows:

    0 nonzero entries of the gradient    1 sum of |gradient|    2 sum of gradient^2    3 max |gradient|
    4 sum of parameter^2 before the step                        5 sum of (after - before)^2

`finished` computes the recorded statistics from them (`STATISTICS` in `record.values.depth_profile`). In float64 the
variance, mean square minus squared mean, loses at most 1e-16 of the mean square to cancellation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from sweeper.record.values.depth_profile import STATISTICS

GRADIENT_ROWS, UPDATE_ROWS = 4, 2
MAXIMUM = 3
CHUNK = 1 << 18
"""Number of entries that are processed together on a CPU: their magnitudes, 1 MiB, stay in its cache."""
PIECE = 1 << 17
"""Number of squares that are summed in float32 before the sum continues in float64; a longer sum loses digits."""
SAFE_SQUARES = (1e-30, 1e30)
"""Between these, a sum of squares in float32 is free of underflow and overflow."""


class Measure:
    """Computes the sums of tensors on one device, with a scratch buffer that is reused."""

    def __init__(self) -> None:
        self._scratch: dict[torch.dtype, torch.Tensor] = {}

    def gradients(
        self, gradients: Sequence[torch.Tensor | None], *, norm_only: bool, scratch: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        """Return rows 0 to 3, or row 2 alone; NaN in the column of a tensor without gradient.

        Args:
            gradients: the gradients; None for a tensor without one.
            norm_only: compute row 2 only.
            scratch: tensors like the gradients that may be overwritten; used on an accelerator to count zeros.
        """
        rows = 1 if norm_only else GRADIENT_ROWS
        present = [index for index, gradient in enumerate(gradients) if gradient is not None]
        values = [gradient.detach() for gradient in gradients if gradient is not None]
        if not values:
            return torch.full((rows, len(gradients)), math.nan, dtype=torch.float64)
        if any(
            value.is_sparse for value in values
        ):  # the values of a sparse tensor have another shape than the scratch
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
        """Return rows 4 and 5. On an accelerator, `before` is overwritten with the updates."""
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
            squares += _dot(magnitudes.sub_(mean)) + mean * sum_  # around the mean, so that float32 is precise enough
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
        """Return scratch of the size of a chunk, in float64 for float64 and else in float32."""
        dtype = torch.float64 if chunk.dtype == torch.float64 else torch.float32
        if dtype not in self._scratch:
            self._scratch[dtype] = torch.empty(CHUNK, dtype=dtype)
        return self._scratch[dtype][: chunk.numel()]


# ---- on an accelerator: one kernel over all tensors at a time, in float64 --------------------------------------------


def gradients_by_foreach(values: list[torch.Tensor], scratch: list[torch.Tensor]) -> torch.Tensor:
    """Return rows 0 to 3; see `Measure.gradients`."""
    rows = [_norms(values, 1), _norms(values, 2).square(), _norms(values, math.inf)]
    if scratch:
        torch._foreach_copy_(scratch, values)
        torch._foreach_sign_(scratch)
        nonzero = _norms(scratch, 1)
    else:
        nonzero = torch.stack([value.count_nonzero() for value in values]).double()
    return torch.stack([nonzero, *rows])


def updates_by_foreach(before: list[torch.Tensor], after: list[torch.Tensor]) -> torch.Tensor:
    """Return rows 4 and 5; see `Measure.updates`."""
    norms = _norms(before, 2)
    torch._foreach_sub_(before, after)
    return torch.stack([norms, _norms(before, 2)]).square()


def finished(sums: torch.Tensor, sizes: torch.Tensor, has_ratio: torch.Tensor) -> torch.Tensor:
    """Return the recorded statistics from the six rows of sums.

    Args:
        sums: float64, shape (6, tensors).
        sizes: entries of each whole tensor, float64, shape (tensors,).
        has_ratio: 1, or NaN for a tensor that started at zero and has no update ratio; same shape.

    Returns:
        float32, shape (tensors, statistics), in the order of `STATISTICS`; out of the range of float32, values are
        infinite or zero.
    """
    nonzero, total, squares, largest, parameter, update = sums.unbind()
    mean = total / sizes
    deviation = (squares / sizes - mean.square()).clamp(min=0).sqrt()
    columns = {
        "grad_mean": mean,
        "grad_max": largest,
        "grad_std": deviation,
        "grad_zero": 1 - nonzero / sizes,
        "grad_norm": squares.sqrt(),
        "param_norm": parameter.sqrt(),
        "update_norm": update.sqrt(),
        "update_ratio": torch.where(parameter > 0, (update / parameter).sqrt(), math.nan) * has_ratio,
    }
    return torch.stack([columns[name] for name in STATISTICS], dim=1).float()


def _norms(tensors: Sequence[torch.Tensor], order: float) -> torch.Tensor:
    """Return a norm of each tensor; 0 for a tensor without entries."""
    full = [tensor for tensor in tensors if tensor.numel()]
    norms: Iterator[torch.Tensor] = iter(torch._foreach_norm(full, order, dtype=torch.float64)) if full else iter(())
    zero = torch.zeros((), dtype=torch.float64, device=tensors[0].device) if len(full) < len(tensors) else None
    return torch.stack([next(norms) if tensor.numel() or zero is None else zero for tensor in tensors])


def _table(columns: Iterator[Sequence[float]]) -> torch.Tensor:
    return torch.tensor(list(columns), dtype=torch.float64).T


def _dot(values: torch.Tensor) -> float:
    """Return the sum of squares; values are scaled if their squares are out of the range of float32."""
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
    """Return all entries in one-dimensional chunks, without a copy if they have no gaps in memory."""
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
    """Return the tensor in pieces of at most `size` entries; `split` is slow, so it is avoided for one piece."""
    pieces: Sequence[torch.Tensor] = (flat,) if flat.numel() <= size else flat.split(size)
    return pieces
