"""Limit how often expensive work is done, so that it takes a bounded share of the time in a sweep of any size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SHARE = 0.1


@dataclass(slots=True)
class Pace:
    """Allows some work at most every `every_s` seconds, and for at most a tenth of the time."""

    every_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _next: float = 0.0

    def is_due(self) -> bool:
        """Return whether the work may be done now."""
        return self.clock() >= self._next

    def make_due(self) -> None:
        """Allow the work at once."""
        self._next = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure the work that is done within this context, and set when it may be done next."""
        begin = self.clock()
        yield
        end = self.clock()
        self._next = end + max(self.every_s, (end - begin) / SHARE)
