"""Confidence intervals of means by Student's t distribution, with the standard library only; pure functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from sweeper.record.values.beta import incomplete_beta
from sweeper.record.values.extremes import deviation, mean

BISECTIONS = 200
"""Maximum number of bisections; the search ends earlier once no float lies between the ends of the interval."""
CONFIDENCE = 0.95


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution, accurate to 10 digits.

    Args:
        probability: between 0 and 1, both excluded.
        degrees: degrees of freedom, at least 1.

    Raises:
        ValueError: an argument is out of its range.
    """
    if not 0 < probability < 1 or degrees < 1:
        message = f"expected 0 < probability < 1 and degrees >= 1, got {probability} and {degrees}"
        raise ValueError(message)
    # P(|T| > t) = I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2): Abramowitz and Stegun 26.7.1 and 26.5.27.
    tails = 2 * min(probability, 1 - probability)
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        x = (low + high) / 2
        if x in (low, high):
            break
        low, high = (low, x) if incomplete_beta(x, degrees / 2, 0.5) > tails else (x, high)
    t = math.sqrt(degrees * (1 - high) / high)
    return t if probability > 0.5 else -t  # noqa: PLR2004 - the median is at 0


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided confidence interval of the mean of normally distributed values; NaN for fewer than two.

    Args:
        confidence: between 0 and 1, both excluded.
    """
    if len(values) <= 1:
        return math.nan, math.nan
    middle, half = mean(values), half_width(deviation(values), len(values), confidence)
    return middle - half, middle + half


def half_width(deviation: float, count: int, confidence: float = CONFIDENCE) -> float:
    """Return half the width of the confidence interval of a mean.

    Args:
        deviation: the standard deviation of the values.
        count: the number of values, at least 2.
        confidence: between 0 and 1, both excluded.
    """
    return t_quantile((1 + confidence) / 2, count - 1) * deviation / math.sqrt(count)
