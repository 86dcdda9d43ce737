"""Non-domination ranks: which trials no other one beats in every objective; pure functions.

A trial dominates another one if it is at least as good in every objective and better in one. Rank 0 is the Pareto
front: what nothing dominates. Rank 1 is the front of the rest, and so on. Trials that miss a constraint follow, by how
much they miss it (Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II").
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

Values = Sequence[float]
"""The objectives of one trial, signed so that less is better."""
PLANE, SPACE = 2, 3
"""Objectives up to which the last point of a front is the best in the last one, and for which fronts are stairs."""


def dominates(one: Values, other: Values) -> bool:
    """Return whether the first is at least as good in every objective, and better in one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def ranks(points: Sequence[Values], violations: Sequence[float] | None = None) -> list[int]:
    """Return the rank of each point, from 0.

    The points are sorted first, so that a point can only be dominated by earlier ones, and a search by halves finds the
    first front that does not dominate it (Zhang et al. 2015, "An efficient approach to nondominated sorting"). With
    two objectives, only the last point of a front has to be compared, because it is the best in the second one. With
    three, a front is kept as stairs, in which one search by halves replaces the comparison with each of its points.

    Args:
        points: the values of each, signed so that less is better; all are finite.
        violations: by how much each misses its constraints, 0 or less if it keeps to them.
    """
    missed = [0.0] * len(points) if violations is None else [max(0.0, one) for one in violations]
    order = sorted((i for i in range(len(points)) if missed[i] == 0), key=lambda i: tuple(points[i]))
    found, fronts = [0] * len(points), list[_Front | _Stairs]()
    make = _Stairs if points and len(points[0]) == SPACE else _Front
    before: int | None = None
    for index in order:
        point, low, high = points[index], 0, len(fronts)
        if before is not None and tuple(points[before]) == tuple(point):  # equal points have the same rank
            found[index] = found[before]
            continue
        while low < high:
            middle = (low + high) // 2
            if fronts[middle].dominates(point):
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append(make())
        fronts[low].add(point)
        found[index], before = low, index
    amounts = sorted({amount for amount in missed if amount > 0})
    after = {amount: len(fronts) + place for place, amount in enumerate(amounts)}
    return [after.get(amount, rank) for amount, rank in zip(missed, found, strict=True)]


@dataclass(slots=True)
class _Front:
    """The points of a front, in the order in which they were sorted."""

    _points: list[Values] = field(default_factory=list)

    def dominates(self, point: Values) -> bool:
        """Return whether one of them dominates a point that is sorted after all of them."""
        likely = self._points[-1:] if len(point) <= PLANE else reversed(self._points)
        return any(dominates(member, point) for member in likely)

    def add(self, point: Values) -> None:
        """Add a point that none of them dominates."""
        self._points.append(point)


@dataclass(slots=True)
class _Stairs:
    """A front with three objectives, as the least third objective up to each second one.

    Points are sorted by their first objective, so a point of the front dominates a later one, which differs from it, if
    it is at least as good in the other two. The second objectives ascend, and the third ones descend.
    """

    _seconds: list[float] = field(default_factory=list)
    _thirds: list[float] = field(default_factory=list)

    def dominates(self, point: Values) -> bool:
        """Return whether the front dominates a point that is sorted after all of it and equals none of it."""
        place = bisect_right(self._seconds, point[1])
        return place > 0 and self._thirds[place - 1] <= point[2]

    def add(self, point: Values) -> None:
        """Add a point that the front does not dominate; steps that are nowhere better than it are left out."""
        begin = end = bisect_left(self._seconds, point[1])
        while end < len(self._thirds) and self._thirds[end] >= point[2]:
            end += 1
        self._seconds[begin:end], self._thirds[begin:end] = [point[1]], [point[2]]
