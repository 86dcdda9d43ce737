"""Windows over the values of a run: the first ones, and the newest ones."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace

FIRST_OBSERVATIONS = 5
FEWEST = 2
"""Minimum number of reports, at the start of a run, that a mean is taken of."""
Point = tuple[int, float]
"""A step, and a value at that step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationWindow:
    """A value at the first observations of the run, and at the newest ones."""

    first: tuple[float, ...] = ()
    newest: tuple[Point, ...] = ()

    def with_value(self, step: int, value: float, window: int) -> ObservationWindow:
        """Return the window with one more observation; the newest `window` are kept."""
        first = self.first if len(self.first) == FIRST_OBSERVATIONS else (*self.first, value)
        return ObservationWindow(first=first, newest=(*self.newest, (step, value))[-window:])

    @property
    def median(self) -> float:
        """The median of the newest observations."""
        return statistics.median(value for _, value in self.newest)

    @property
    def at_start(self) -> float:
        """The median of the first observations."""
        return statistics.median(self.first)

    def evidence(self, statistic: str, threshold: float) -> dict[str, object]:
        """Return the values that a decision follows from."""
        median = self.median
        return {
            "statistic": statistic,
            "window": [list(point) for point in self.newest],
            "median": median,
            "threshold": threshold,
            "margin": threshold / median if median else math.inf,
            "at_start": self.at_start,
        }

    def span(self) -> str:
        """Return the steps of the newest observations as text."""
        return f"the observations at steps {self.newest[0][0]} to {self.newest[-1][0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWindow:
    """The first and the newest reports of a loss, and the lowest mean of the reports before the newest window.

    Attributes:
        first: the first reports.
        newest: the newest reports, twice as many as the window.
        lowest: the lowest mean of any window before the newest one; infinite before there is one.
        lowest_step: the last step of that window; -1 before there is one.
    """

    first: tuple[float, ...] = ()
    newest: tuple[Point, ...] = ()
    lowest: float = math.inf
    lowest_step: int = -1

    def with_value(self, step: int, value: float, window: int) -> LossWindow:
        """Return the window with one more report."""
        first = self.first if len(self.first) == window else (*self.first, value)
        state = replace(self, first=first, newest=(*self.newest, (step, value))[-2 * window :])
        before = state.newest[:-window]
        if len(before) >= FEWEST and (lower := mean([value for _, value in before])) < self.lowest:
            state = replace(state, lowest=lower, lowest_step=before[-1][0])
        return state


def mean(values: list[float] | tuple[float, ...]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)
