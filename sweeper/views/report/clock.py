"""Time as a timeline shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

LONGEST_IDLE = 0.1
"""The part of the time of all attempts in which nothing may run before that is cut out of a timeline."""
CUT = 0.2
"""What is left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Seconds since the first beginning, without the times in which nothing ran for long.

    `stretches` are the times between cuts: where each begins in seconds since the epoch, and where it stands.
    """

    stretches: Sequence[tuple[float, float]]
    total: float

    @classmethod
    def of(cls, spans: Sequence[tuple[float, float]]) -> Self:
        """The clock of what ran, each from its beginning to its end, in seconds since the epoch."""
        longest = sum(max(0.0, end - begin) for begin, end in spans) * LONGEST_IDLE
        stretches: list[tuple[float, float]] = []
        busy_until, place = -math.inf, 0.0
        for begin, end in sorted(spans):
            if begin - busy_until > longest:
                place = place + busy_until - stretches[-1][0] + longest * CUT if stretches else 0.0
                stretches.append((begin, place))
            busy_until = max(busy_until, end)
        return cls(stretches=stretches, total=stretches[-1][1] + busy_until - stretches[-1][0])

    def at(self, time: float) -> float:
        """Where a moment stands."""
        begin, place = next(stretch for stretch in reversed(self.stretches) if stretch[0] <= time)
        return place + time - begin

    @property
    def cuts(self) -> list[float]:
        """Where time was left out."""
        return [place for _, place in self.stretches[1:]]
