"""Compare the Pareto fronts of two sweeps with the same objectives; pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweeper.record.objectives import Objective
from sweeper.record.pareto import dominates
from sweeper.record.trial import TrialRecord
from sweeper.results.comparison.configurations import configuration_name, configuration_results, has_several_seeds
from sweeper.results.front import Member, front_of, means_of, members_of, ranks_of
from sweeper.results.wording import counted, plain

Lettered = tuple[str, Sequence[TrialRecord]]
"""The letter of a sweep, and its trials."""


def goals_text(goals: Sequence[Objective]) -> str:
    """Return the objectives as a task: ``minimize loss/val and maximize accuracy``."""
    return " and ".join(f"{'maximize' if goal.maximize else 'minimize'} {plain(goal.name)}" for goal in goals)


def front_members(trials: Sequence[TrialRecord]) -> tuple[list[Member], str]:
    """Return the front with the objectives of each member, and what a member is: a trial or a configuration."""
    if not has_several_seeds(trials):
        return members_of(trials), "trial"
    order = configuration_results(trials)
    ranks = ranks_of([one.trials for one in order])
    on_front = [one for one, rank in zip(order, ranks, strict=True) if rank == 0 and one.is_feasible]
    return [(configuration_name(one), means_of(one.trials) or ()) for one in on_front], "configuration"


def compared_fronts(first: Lettered, second: Lettered) -> Iterator[str]:
    """Yield how many members of each front the other front dominates, and which front is better.

    A front is better if it dominates or equals each member of the other one, and not the other way round.

    Args:
        first: the letter of a sweep, and its trials.
        second: the same of the other sweep.
    """
    (a, here), (b, there) = first, second
    if not front_of(here) or not front_of(there):
        without = " and ".join(letter for letter, trials in (first, second) if not front_of(trials))
        yield f"{a} and {b} cannot be compared: {without} has no trial with all objectives within the constraints."
        return
    goals = here[0].facts.objectives
    (ours, of), (theirs, other) = front_members(here), front_members(there)
    one, two = _signed(goals, ours), _signed(goals, theirs)
    lost_here, lost_there = _dominated(one, two), _dominated(two, one)
    sizes = (counted(len(one), of, f"{of}s"), counted(len(two), other, f"{other}s"))
    yield f"the front of {a} has {sizes[0]}; the front of {b} dominates {lost_here} of them"
    yield f"the front of {b} has {sizes[1]}; the front of {a} dominates {lost_there} of them"
    yield _verdict((a, one), (b, two))


def _verdict(first: tuple[str, list[list[float]]], second: tuple[str, list[list[float]]]) -> str:
    (a, one), (b, two) = first, second
    if sorted(one) == sorted(two):
        return f"The fronts of {a} and {b} are equal."
    for (winner, points), (loser, others) in ((first, second), (second, first)):
        if all(any(dominates(point, other) or point == other for point in points) for other in others):
            return f"The front of {winner} is better than that of {loser}: it dominates or equals every point of it."
    return f"Neither front is better: each has points that the other does not dominate ({a} and {b})."


def _signed(goals: Sequence[Objective], members: Sequence[Member]) -> list[list[float]]:
    return [[goal.signed(value) for goal, value in zip(goals, values, strict=True)] for _, values in members]


def _dominated(points: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> int:
    return sum(any(dominates(other, point) for other in others) for point in points)
