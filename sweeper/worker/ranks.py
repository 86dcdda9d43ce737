"""Several processes that train one model: which of them writes the record, and what they agree on.

Rank 0 alone appends. Its place is read from the environment that launchers set (torchrun: RANK; Lightning: LOCAL_RANK
and NODE_RANK), since a trial opens before any process group does. Agreements go over a process group of their own on
the CPU, so that no device is waited for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any


def is_first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0, or the only one."""
    places = ("RANK",) if "RANK" in environment else ("LOCAL_RANK", "NODE_RANK")
    return all(environment.get(place, "0") == "0" for place in places)


def place(environment: Mapping[str, str] = os.environ) -> str:
    """The name of this process among the ranks; that of the first is of no use to anybody."""
    if "RANK" in environment:
        return environment["RANK"]
    return f"{environment.get('NODE_RANK', '0')}.{environment.get('LOCAL_RANK', '0')}"


class Ranks:
    """The ranks of this process's trial."""

    def __init__(self) -> None:
        self._group: Any = None

    def any(self, *flags: bool) -> list[bool]:
        """For each flag whether it is set on any rank; every rank has to call this equally often.

        One small all-reduce between CPUs; without a process group, nothing.
        """
        if not _several():
            return list(flags)
        import torch
        from torch import distributed

        if self._group is None:
            self._group = distributed.new_group(backend="gloo")
        votes = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX, group=self._group)
        return [bool(vote) for vote in votes.tolist()]


def _several() -> bool:
    """Whether a process group of several ranks is set up. A script that has not imported torch has none."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    return (
        distributed is not None
        and distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )
