"""The values that a sweep file gives a parameter, and the nearest of them on one side of a value."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The numbers that a parameter takes.

    Attributes:
        values: all of them, if they are listed; otherwise empty.
        low: the lowest number of a range.
        high: the highest number of a range.
        quantum: the number that all values of a range are multiples of; 0 if any number counts.
        whole: whether the script expects whole numbers.
        text: the values in words, such as ``3e-4 or 8e-4``.
    """

    values: tuple[float, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    quantum: float = 0.0
    whole: bool = False
    text: str = ""

    def below(self, most: float) -> float | None:
        """Return the largest number of the domain that is at most `most`; None if there is none."""
        if self.values:
            return max((value for value in self.values if value <= most), default=None)
        value = min(most, self.high)
        if self.quantum:
            value = self._multiple(math.floor(value / self.quantum + 1e-9))
        return value if value >= self.low else None

    def above(self, least: float) -> float | None:
        """Return the smallest number of the domain that is at least `least`; None if there is none."""
        if self.values:
            return min((value for value in self.values if value >= least), default=None)
        value = max(least, self.low)
        if self.quantum:
            value = self._multiple(math.ceil(value / self.quantum - 1e-9))
        return value if value <= self.high else None

    def has(self, value: float) -> bool:
        """Return whether a number is in the domain."""
        return self.below(value) == value

    def _multiple(self, factor: int) -> float:
        value = factor * self.quantum
        return float(f"{value:.12g}")
