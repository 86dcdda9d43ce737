"""The chart of the Pareto front as data, which the report and the live page draw: trials over pairs of objectives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.objectives import Objective
from sweeper.record.trial import TrialRecord
from sweeper.results.front import front_of
from sweeper.results.scales import is_logarithmic

BEYOND_WORDS, FRONT_WORDS = "beyond a constraint", "Pareto front"
"""What a legend calls trials that miss a constraint, and the circles."""
MOST_PAIRS = 6
"""Maximum number of pairs of objectives that are drawn; four objectives have six."""
STEPPED = 2
"""With this number of objectives, a line bounds the region that the front dominates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoints:
    """The trials of a sweep with several objectives that have values.

    Attributes:
        goals: the objectives.
        trials: the trials.
        front: those of them on the Pareto front, best in the first objective first.
    """

    goals: Sequence[Objective]
    trials: Sequence[TrialRecord]
    front: Sequence[TrialRecord]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of objectives, by their places, at most `MOST_PAIRS`."""
        return list(itertools.combinations(range(len(self.goals)), 2))[:MOST_PAIRS]

    @property
    def is_stepped(self) -> bool:
        """Whether a line bounds the region that the front dominates."""
        return len(self.goals) == STEPPED and bool(self.front)

    def values(self, objective: int) -> list[float]:
        """Return the value of each trial in one objective."""
        return [(trial.values or ())[objective] for trial in self.trials]

    def is_logarithmic(self, objective: int) -> bool:
        """Return whether the axis of an objective is logarithmic."""
        return is_logarithmic(self.values(objective))


def front_points(trials: Iterable[TrialRecord], ranks: Mapping[int, int] | None = None) -> FrontPoints | None:
    """Return the points of the chart; None with one objective, or without values.

    Args:
        trials: the trials.
        ranks: their ranks (`results.front.trial_ranks`), where they are known.
    """
    valued = [trial for trial in trials if trial.facts.objectives and trial.values is not None]
    if not valued:
        return None
    return FrontPoints(goals=valued[0].facts.objectives, trials=valued, front=front_of(valued, ranks))


def better_word(goal: Objective) -> str:
    """Return which values of an objective are better: ``higher is better``."""
    return f"{'higher' if goal.maximize else 'lower'} is better"
