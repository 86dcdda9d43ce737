"""Scales of charts: where a logarithmic axis shows numbers better; pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

LOG_FROM = 5.0
"""The ratio of the largest to the smallest value from which on a logarithmic axis is considered."""


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Return whether the numbers span a wide range and are spread more evenly on a logarithmic scale."""
    if min(numbers) <= 0 or max(numbers) < LOG_FROM * min(numbers):
        return False
    evenness = [abs(statistics.median(normalized(numbers, log=log)) - 0.5) for log in (False, True)]
    return evenness[1] < evenness[0]


def normalized(positions: Sequence[float], *, log: bool) -> list[float]:
    """Return the positions scaled to 0 to 1; 0.5 if all are equal."""
    values = [math.log(position) for position in positions] if log else [float(position) for position in positions]
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span for value in values] if span else [0.5] * len(values)
