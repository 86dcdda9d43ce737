"""Non-domination ranks: which trials no other one beats in every objective; pure functions.

A trial dominates another one if it is at least as good in every objective and better in one. Rank 0 is the Pareto
front: what nothing dominates. Rank 1 is the front of the rest, and so on. Trials that miss a constraint follow, by how
much they miss it (Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II").
"""

from __future__ import annotations

from collections.abc import Sequence

Values = Sequence[float]
"""The objectives of one trial, signed so that less is better."""
PLANE = 2
"""Objectives up to which the last point of a front is the best in the last objective."""


def dominates(one: Values, other: Values) -> bool:
    """Return whether the first is at least as good in every objective, and better in one."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def ranks(points: Sequence[Values], violations: Sequence[float] | None = None) -> list[int]:
    """Return the rank of each point, from 0.

    The points are sorted first, so that a point can only be dominated by earlier ones, and a search by halves finds the
    first front that does not dominate it (Zhang et al. 2015, "An efficient approach to nondominated sorting"). With
    two objectives, only the last point of a front has to be compared, because it is the best in the second one.

    Args:
        points: the values of each, signed so that less is better; all are finite.
        violations: by how much each misses its constraints, 0 or less if it keeps to them.
    """
    missed = [0.0] * len(points) if violations is None else [max(0.0, one) for one in violations]
    order = sorted((i for i in range(len(points)) if missed[i] == 0), key=lambda i: tuple(points[i]))
    found, fronts = [0] * len(points), list[list[Values]]()
    is_plane = bool(points) and len(points[0]) <= PLANE
    for index in order:
        point, low, high = points[index], 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            if any(
                dominates(member, point) for member in (fronts[middle][-1:] if is_plane else reversed(fronts[middle]))
            ):
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append([])
        fronts[low].append(point)
        found[index] = low
    amounts = sorted({amount for amount in missed if amount > 0})
    after = {amount: len(fronts) + place for place, amount in enumerate(amounts)}
    return [after.get(amount, rank) for amount, rank in zip(missed, found, strict=True)]
