"""The arithmetic of docs/repair.md: shares with exact intervals, steps, and paired comparisons. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.repairs.plan import REPAIR
from sweeper.rules.calibration.intervals import clopper_pearson

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with an exact interval."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.part / self.whole if self.whole else None

    def __str__(self) -> str:
        if not self.whole:
            return "-"
        low, high = clopper_pearson(self.part, self.whole)
        return f"{self.part} of {self.whole} [{100 * low:.0f}-{100 * high:.0f}%]"


@dataclass(frozen=True, slots=True)
class Paired:
    """Two ways to save the same failing runs.

    Attributes:
        won: runs that only repair saved.
        lost: runs that only the other way saved.
        count: all runs.
    """

    won: int
    lost: int
    count: int

    @property
    def _interval(self) -> tuple[float, float]:
        return clopper_pearson(self.won, self.won + self.lost) if self.won + self.lost else (0.0, 1.0)

    @property
    def is_better(self) -> bool:
        """Whether repair is better beyond the exact interval of its share of the runs that tell the ways apart."""
        return self._interval[0] > 1 / 2

    @property
    def is_worse(self) -> bool:
        """Whether repair is worse beyond the interval."""
        return self._interval[1] < 1 / 2

    def text(self) -> str:
        """Return the counts in words."""
        return f"only repair saved {self.won}, only the restart {self.lost}" if self.count else "-"


def paired(runs: Iterable[Mapping[str, Line]], way: str) -> Paired:
    """Compare repair with another way; each run has a line for each way."""
    saved = [(ways[REPAIR]["outcome"] == "learned", ways[way]["outcome"] == "learned") for ways in runs]
    return Paired(saved.count((True, False)), saved.count((False, True)), len(saved))


def cost(line: Line) -> float:
    """Return all steps of a way, in plans."""
    return float(line["steps"] / line["plan"])


def extra(line: Line) -> float:
    """Return the steps beyond one run of the plan, as a share of the plan; 0 if there were fewer."""
    return max(0.0, cost(line) - 1)


def is_within(line: Line, most: float) -> bool:
    """Return whether a run became a learner with at most this share of extra steps."""
    return bool(line["outcome"] == "learned" and extra(line) <= most)


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return statistics.fmean(values) if values else None
