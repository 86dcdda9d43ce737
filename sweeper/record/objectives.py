"""Several objectives and constraints of a trial: the evaluation that counts, and by how much it misses a constraint.

The values of all objectives come from one step, so that a trial never shows a combination of values that it never had.
A metric that was reported at one step only, such as the size of the model, holds for the whole trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MOST_ROWS = 16
"""Maximum number of recent steps that wait for the rest of their values. Further ones are the last value of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A metric that ranks trials, and whether larger values of it are better."""

    name: str
    maximize: bool = False

    def signed(self, value: float) -> float:
        """Return the value, signed so that less is better."""
        return -value if self.maximize else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """The bounds of a metric that a trial has to keep to; None for a side without a bound."""

    name: str
    min: float | None = None
    max: float | None = None

    def violations(self, value: float) -> Iterator[float]:
        """Yield for each bound by how much a value is beyond it: 0 or less inside, infinity if it is not a number."""
        if self.max is not None:
            yield value - self.max if not math.isnan(value) else math.inf
        if self.min is not None:
            yield self.min - value if not math.isnan(value) else math.inf

    def __str__(self) -> str:
        """Return the constraint as a user would write it: ``1 <= memory_gb <= 16``."""
        least = "" if self.min is None else f"{self.min:g} <= "
        return f"{least}{self.name}" + ("" if self.max is None else f" <= {self.max:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The objectives and constraints that were reported at one step."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The evaluation of a trial that counts: its step, and the value of each objective and constraint.

    `missing` are the names without a value. `scattered` is true if no step has all objectives, so that each has its
    last value.
    """

    step: int
    values: Mapping[str, float]
    missing: tuple[str, ...] = ()
    scattered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The recent steps at which objectives were reported, and which of them were reported at more than one step.

    Steps before the last one that has all objectives are dropped: they cannot count any more.
    """

    rows: tuple[Row, ...] = ()
    seen: Mapping[str, int] = field(default_factory=dict)
    repeated: tuple[str, ...] = ()

    def after(self, step: int, values: Mapping[str, float], objectives: Sequence[str]) -> Rows:
        """Return the rows after more values of objectives and constraints at a step."""
        known = next((row.values for row in self.rows if row.step == step), {})
        row = Row(step=step, values={**known, **values})
        rows = [*(one for one in self.rows if one.step != step), row]
        if all(name in row.values for name in objectives):
            rows = [one for one in rows if one.step >= step]
        again = [name for name in values if self.seen.get(name, step) != step and name not in self.repeated]
        return Rows(
            rows=tuple(rows[-MOST_ROWS:]),
            seen={**self.seen, **dict.fromkeys(values, step)},
            repeated=(*self.repeated, *again),
        )

    def point(self, objectives: Sequence[str], constraints: Sequence[str], last: Mapping[str, float]) -> Point | None:
        """Return the evaluation that counts: the last step that has every objective which was reported repeatedly.

        Args:
            objectives: the names of the objectives.
            constraints: the names of the metrics with bounds. One without a value at that step has its last value.
            last: the last value of each of them that was reported.

        Returns:
            The point; None before the first value of an objective.
        """
        steps = [self.seen[name] for name in objectives if name in self.seen]
        if not steps:
            return None
        needed = [name for name in objectives if name in self.repeated]
        together = needed or [name for name in objectives if name in self.seen]
        full = [row for row in self.rows if all(name in row.values for name in together)]
        missing = tuple(name for name in (*objectives, *constraints) if name not in last)
        if not full:
            return Point(step=max(steps), values=dict(last), missing=missing, scattered=bool(needed))
        row = max(full, key=lambda row: row.step)
        return Point(step=row.step, values={**last, **row.values}, missing=missing)
