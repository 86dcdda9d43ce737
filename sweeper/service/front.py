"""The Pareto front of a sweep as a chart; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.record.trial import TrialRecord
from sweeper.results.captions import FRONT
from sweeper.results.front_points import FrontPoints, better_word, front_points
from sweeper.service.answers.series import Front, FrontAxis

MOST = 2000
"""Maximum number of trials behind the front, the best ones."""


def front_chart(order: Sequence[TrialRecord], ranks: Mapping[int, int], revision: int) -> Front:
    """Return the chart of a sweep.

    Args:
        order: the trials, the best first.
        ranks: their ranks (`results.front.trial_ranks`).
        revision: that of the run.
    """
    points = front_points(order, ranks) or FrontPoints(goals=(), trials=(), front=())
    members = {trial.number for trial in points.front}
    others = [trial for trial in points.trials if trial.number not in members]
    shown = FrontPoints(goals=points.goals, trials=[*points.front, *others[:MOST]], front=points.front)
    return Front(
        revision=revision,
        caption=FRONT,
        left_out=len(points.trials) - len(shown.trials),
        numbers=[trial.number for trial in shown.trials],
        states=[trial.state.value for trial in shown.trials],
        feasible=[trial.is_feasible for trial in shown.trials],
        front=[trial.number for trial in shown.front],
        axes=[
            FrontAxis(
                name=goal.name,
                better=better_word(goal),
                maximize=goal.maximize,
                log=shown.is_logarithmic(place),
                values=shown.values(place),
            )
            for place, goal in enumerate(shown.goals)
        ],
        pairs=shown.pairs,
        stepped=shown.is_stepped,
    )
