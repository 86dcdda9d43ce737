"""Ranks: several processes that train one model. Only rank 0 writes the record, and all ranks agree on stops and saves.

The rank is read from the variables that launchers set (torchrun: RANK; Lightning: LOCAL_RANK and NODE_RANK), because a
trial opens before any process group exists. The ranks agree through a process group of their own on the CPU, so they do
not wait for a device.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is rank 0, or the only process."""
    variables = ("RANK",) if "RANK" in environment else ("LOCAL_RANK", "NODE_RANK")
    return all(environment.get(variable, "0") == "0" for variable in variables)


def rank_name(environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of this rank for file names: `3`, or `1.3` as node and local rank."""
    if "RANK" in environment:
        return environment["RANK"]
    return f"{environment.get('NODE_RANK', '0')}.{environment.get('LOCAL_RANK', '0')}"


class Ranks:
    """The ranks of a trial, as seen by one of them."""

    def __init__(self) -> None:
        self._group: Any = None

    def any(self, *flags: bool) -> list[bool]:
        """Return, for each flag, whether it is set on any rank. Every rank must call this equally often.

        It takes one small all-reduce on the CPU. Without a process group, the flags are returned as they are.
        """
        if not several_ranks():
            return list(flags)
        import torch
        from torch import distributed

        if self._group is None:
            self._group = distributed.new_group(backend="gloo")
        votes = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX, group=self._group)
        return [bool(vote) for vote in votes.tolist()]


def several_ranks() -> bool:
    """Return whether there is a process group of several ranks. Does not import torch."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    return (
        distributed is not None
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
