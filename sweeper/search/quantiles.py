"""Draw from distributions that no sampler of Optuna has, by their quantiles.

A sampler proposes a number from 0 to 1, and the parameter's value is that quantile of its distribution: normal,
log-normal and beta, or values with probabilities. So every sampler draws from the distribution at first, and learns
which of its quantiles are good, as W&B's search does. The outermost millionth on either side is left out, so that all
values are finite.
"""

from __future__ import annotations

import bisect
import itertools
import math
from statistics import NormalDist
from typing import TypeAlias

from sweeper.config import Beta, Choice, Normal, identity, multiple_of
from sweeper.record.values.beta import incomplete_beta

Drawn: TypeAlias = Normal | Beta | Choice
"""A parameter that is drawn by its quantile; a choice has probabilities then."""

LEAST, MOST = 1e-6, 1 - 1e-6
"""The lowest and the highest quantile that are drawn."""

STEPS = 80
"""Halvings of an interval until a quantile is found; a float has 53 bits, and quantiles near 0 need some more."""


def value_at(parameter: Drawn, quantile: float) -> object:
    """Return the value of the parameter at a quantile from `LEAST` to `MOST`."""
    if isinstance(parameter, Choice):
        ends = _ends(parameter)
        return parameter.values[min(bisect.bisect_right(ends, quantile * ends[-1]), _last(parameter))]
    if isinstance(parameter, Normal):
        number = NormalDist(parameter.mu, parameter.sigma).inv_cdf(quantile)
        number = math.exp(number) if parameter.distribution.log else number
    else:
        number = beta_quantile(parameter.a, parameter.b, quantile)
    return number if parameter.q is None else multiple_of(parameter.q, round(number / parameter.q))


def quantile_of(parameter: Drawn, value: object) -> float | None:
    """Return the quantile of a value, of a rounded value the middle of its quantiles; None if it has none."""
    if isinstance(parameter, Choice):
        ends, key = [0.0, *_ends(parameter)], identity(value)
        place = next((i for i, known in enumerate(parameter.values) if identity(known) == key), None)
        return None if place is None else _inside((ends[place] + ends[place + 1]) / 2 / ends[-1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if parameter.q is None:
        return _inside(_below(parameter, value)) if _is_possible(parameter, value) else None
    if multiple_of(parameter.q, round(value / parameter.q)) != value:
        return None
    half = parameter.q / 2
    least, most = _below(parameter, value - half), _below(parameter, value + half)
    return _inside((least + most) / 2) if most > least else None


def beta_quantile(a: float, b: float, quantile: float) -> float:
    """Return the number below which a beta distribution has this share."""
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if incomplete_beta(middle, a, b) < quantile:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _below(parameter: Normal | Beta, value: float) -> float:
    if isinstance(parameter, Beta):
        return incomplete_beta(value, parameter.a, parameter.b)
    normal = NormalDist(parameter.mu, parameter.sigma)
    if not parameter.distribution.log:
        return normal.cdf(value)
    return normal.cdf(math.log(value)) if value > 0 else 0.0


def _is_possible(parameter: Normal | Beta, value: float) -> bool:
    if isinstance(parameter, Beta):
        return 0 <= value <= 1
    return value > 0 or not parameter.distribution.log


def _inside(quantile: float) -> float:
    return min(max(quantile, LEAST), MOST)


def _ends(choice: Choice) -> list[float]:
    return list(itertools.accumulate(choice.probabilities or ()))


def _last(choice: Choice) -> int:
    """Return the position of the last value that may be drawn."""
    return max(i for i, share in enumerate(choice.probabilities or ()) if share > 0)
