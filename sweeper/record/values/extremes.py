"""Arithmetic on any numbers: a script may report 1e300, and the square of that is no number. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

LARGEST = 1e150
"""The square of it, and a sum of many of these squares, are still numbers."""


def tamed(value: float) -> float:
    """Return the number, or the largest of its sign that can be calculated with; NaN and infinity stay as they are."""
    return max(-LARGEST, min(LARGEST, value)) if math.isfinite(value) else value


def as_float(value: float) -> float:
    """Return a number as a float; infinity for a whole number that is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def mean(values: Iterable[float]) -> float:
    """Return the mean; NaN if it is beyond all numbers."""
    listed = list(values)
    try:
        return statistics.fmean(listed)
    except OverflowError:  # the sum is too large, and so the mean of the parts is taken
        return sum(value / len(listed) for value in listed)
    except ValueError:  # infinities of both signs
        return math.nan


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample; NaN if it is beyond all numbers."""
    try:
        return statistics.stdev(values)
    except (OverflowError, ValueError, AttributeError):  # the last is what `statistics` makes of an infinity
        return math.nan
