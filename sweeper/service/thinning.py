"""Thin what is drawn to what fits a screen; pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Return the places of at most so many values: the first, the last, and the extremes in between.

    The values between the first and the last are divided into equal parts. Each part keeps its lowest and its highest
    value, so that no peak is lost. A part without a finite value keeps its first place, so that a gap stays a gap.

    Args:
        values: the values, in order; they may be NaN or infinite.
        most: maximum number of places, at least 4.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    parts = (most - 2) // 2
    width = (count - 2) / parts
    kept = [0]
    for part in range(parts):
        begin, end = 1 + int(part * width), 1 + int((part + 1) * width)
        kept += _extremes(values, begin, min(max(end, begin + 1), count - 1))
    return [*kept, count - 1]


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many of the places from 0 to `count` - 1, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _extremes(values: Sequence[float], begin: int, end: int) -> list[int]:
    """Return the places of the lowest and the highest finite value of a part, in order."""
    finite = [place for place in range(begin, end) if math.isfinite(values[place])]
    if not finite:
        return [begin] if begin < end else []
    low, high = min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)
    return sorted({low, high})
