"""Sharded tensors (DTensor, as in FSDP2): the local shard, and sums over all shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sweeper.worker.watch.statistics import MAXIMUM


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return the shard of a tensor on this rank; for an ordinary tensor, all of it."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


Shardings = Sequence[tuple[tuple[Any, ...], Sequence[int]]]
"""For each kind of sharding, the process groups to sum over, and the columns of the tensors with that sharding."""


def shardings_of(tensors: Sequence[torch.Tensor]) -> Shardings:
    """Return how the tensors are sharded, each a column; empty if none is sharded."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for column, tensor in enumerate(tensors):
        placements = getattr(tensor, "placements", ())
        mesh = getattr(tensor, "device_mesh", None)
        groups = tuple(mesh.get_group(dim) for dim, placement in enumerate(placements) if mesh and placement.is_shard())
        found.setdefault(groups, []).append(column)
    return [(groups, columns) for groups, columns in found.items() if groups]


def add_up(sums: torch.Tensor, shardings: Shardings) -> torch.Tensor:
    """Return the sums of whole tensors, with two small all-reduces for each kind of sharding.

    Every rank has to call this with the same columns.

    Args:
        sums: the sums of the local shards, from `statistics.Measure`, shape (6 or 1, tensors).
        shardings: from `shardings_of`.
    """
    from torch import distributed

    for groups, columns in shardings:
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
