"""The values that a search takes for trials that failed because of their parameters: the worst so far.

Samplers ignore trials without a value. After a failure they would propose again what has just failed.

The values follow from all results so far. So they are computed anew for each proposal, and an earlier failure counts
with worse values once there are some. As long as no trial has a finite value, failures are left out: nothing is known
yet that would be better than they are.

With several objectives, a failure counts with the worst value of each, and it misses each constraint by as much as any
trial so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.record.objectives import Objective
from sweeper.search.proposal import Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The worst value of each objective, and the largest violation of each bound, but at least 0."""

    values: tuple[float, ...]
    violations: tuple[float, ...] = ()


def worst_of(seen: Sequence[Configuration], goals: Sequence[Objective]) -> Worst | None:
    """Return the worst values of the configurations that have ended; None if none has a finite one.

    Args:
        seen: All configurations so far.
        goals: The objectives.
    """
    ended = [(one, values) for one in seen if one.ended and (values := one.objectives) is not None]
    if not ended:
        return None
    columns = zip(*(values for _, values in ended), strict=True)
    missed = [one.violations for one, _ in ended if one.violations and all(map(math.isfinite, one.violations))]
    return Worst(
        values=tuple((min if g.maximize else max)(column) for g, column in zip(goals, columns, strict=True)),
        violations=tuple(max(0.0, *column) for column in zip(*missed, strict=True)),
    )


def imputed(configuration: Configuration, worst: Worst | None) -> Configuration:
    """Return the configuration with the values that it counts with: `worst` stands in for its trials that failed."""
    if not configuration.failed or worst is None:
        return configuration
    own = configuration.objectives or worst.values
    values = tuple(a + configuration.failed * (b - a) for a, b in zip(own, worst.values, strict=True))
    several = values if len(values) > 1 else ()
    return replace(configuration, value=values[0], values=several, violations=worst.violations)
