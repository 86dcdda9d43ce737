"""Tensors that lie in parts on several ranks (DTensor, as FSDP2 makes them): the part here, and sums over all parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sweeper.worker.watch.statistics import MAXIMUM


def local(tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that lies on this rank; of an ordinary tensor, all of it."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


Ways = Sequence[tuple[tuple[Any, ...], Sequence[int]]]
"""For each way of sharding: the process groups over which to add up, and the columns of the tensors sharded so."""


def ways_of(tensors: Sequence[torch.Tensor]) -> Ways:
    """How tensors, one a column, are sharded; empty where all lie here as a whole."""
    ways: dict[tuple[Any, ...], list[int]] = {}
    for column, tensor in enumerate(tensors):
        placements = getattr(tensor, "placements", ())
        mesh = getattr(tensor, "device_mesh", None)
        groups = tuple(mesh.get_group(dim) for dim, placement in enumerate(placements) if mesh and placement.is_shard())
        ways.setdefault(groups, []).append(column)
    return [(groups, columns) for groups, columns in ways.items() if groups]


def add_up(sums: torch.Tensor, ways: Ways) -> torch.Tensor:
    """Sums of whole tensors from those of the parts here: two small all-reduces for each way of sharding.

    Every rank has to call this, with the same columns.

    Args:
        sums: as `statistics.Measure` gives them, shape (6 or 1, tensors).
    """
    from torch import distributed

    for groups, columns in ways:
        index = torch.tensor(columns).to(sums.device, non_blocking=True)
        part = sums.index_select(1, index)
        largest = part[MAXIMUM : MAXIMUM + 1].clone()
        for group in groups:
            distributed.all_reduce(part, group=group)
            if largest.numel():
                distributed.all_reduce(largest, op=distributed.ReduceOp.MAX, group=group)
        part[MAXIMUM : MAXIMUM + 1] = largest
        sums = sums.index_copy(1, index, part)
    return sums
