"""Warn of a disk that fills up, before it is full: how much is left, and how long it will last at the present pace."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.record.events import DiskFilling

EVERY_S, SAMPLES = 10.0, 360
"""How often the free space is measured, and how many measurements are kept: those of an hour."""
LONGEST_S = 24 * 3600.0
FURTHEST = 20
"""The pace of some time says nothing about more than this many times as long."""
FEWEST = 6
LITTLE = 2_000_000_000
"""Bytes of free space that are little, at any pace."""


@dataclass(slots=True)
class DiskWatch:
    """Measures the free space of a directory's disk.

    Attributes:
        path: the directory.
        free: returns the free bytes of its disk; by default, as the system reports them.
    """

    path: Path
    free: Callable[[], int] | None = None
    _measured: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    _warned_s: float = math.inf
    _warned_bytes: float = math.inf

    def check(self, now: float) -> DiskFilling | None:
        """Measure if that is due, and return a warning if one is.

        The first warning comes once the disk will last for less than a day, or has less than `LITTLE` free. Another one
        comes each time that this has halved. Where it has doubled meanwhile, the next halving counts from there.

        Args:
            now: monotonic seconds.
        """
        if self._measured and now - self._measured[-1][0] < EVERY_S:
            return None
        try:
            free = shutil.disk_usage(self.path).free if self.free is None else self.free()
        except OSError:
            return None
        self._measured.append((now, free))
        left = self._seconds_left(free)
        if free >= 2 * self._warned_bytes:
            self._warned_s = self._warned_bytes = math.inf
        elif math.inf > left >= 2 * self._warned_s:
            self._warned_s = left
        if not (left <= min(LONGEST_S, self._warned_s / 2) or free <= min(LITTLE, self._warned_bytes / 2)):
            return None
        self._warned_s, self._warned_bytes = min(left, self._warned_s), min(free, self._warned_bytes)
        return DiskFilling(free_gb=free / 1e9, seconds_left=left)

    def _seconds_left(self, free: int) -> float:
        """Estimate how long the free space lasts; infinity if it does not shrink, or too little is known."""
        count = len(self._measured)
        if count < FEWEST:
            return math.inf
        # Of a single large file, such as a checkpoint that is replaced, one half of the time knows nothing.
        pace = min(self._pace(0, count - 1), self._pace(count // 2, count - 1), self._pace(0, count // 2))
        left = free / pace if pace > 0 else math.inf
        return left if left <= FURTHEST * (self._measured[-1][0] - self._measured[0][0]) else math.inf

    def _pace(self, first: int, last: int) -> float:
        (begin, before), (end, after) = self._measured[first], self._measured[last]
        return (before - after) / (end - begin)
