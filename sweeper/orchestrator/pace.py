"""How often something is done whose cost grows with the sweep: so often that it takes a bounded part of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PART = 0.1


@dataclass(slots=True)
class Pace:
    """Done at most every `every_s` seconds, and at most a tenth of the time."""

    every_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _next: float = 0.0

    def is_due(self) -> bool:
        """Whether it may be done again."""
        return self.clock() >= self._next

    def hasten(self) -> None:
        """It may be done at once."""
        self._next = 0.0

    @contextmanager
    def doing(self) -> Iterator[None]:
        """What is done in this context counts."""
        begin = self.clock()
        yield
        end = self.clock()
        self._next = end + max(self.every_s, (end - begin) / PART)
