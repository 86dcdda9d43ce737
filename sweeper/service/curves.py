"""Curves of trials, thinned to what fits a screen."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.errors import UsageError
from sweeper.record.trial import TrialRecord
from sweeper.service.answers.series import Curve, Curves
from sweeper.service.histories import History, Points
from sweeper.service.thinning import thinned
from sweeper.service.trials import finite

POINTS = 500
"""Points of a curve by default: about one for two pixels of a wide chart."""
FEWEST, MOST = 4, 10_000
STEP, TIME = "step", "time"


def curves_of(
    trials: Sequence[tuple[TrialRecord, History]], metrics: Sequence[str], *, by: str, points: int, revision: int
) -> Curves:
    """Return the curves of these metrics of these trials.

    Args:
        trials: the trials with their histories.
        metrics: the names of the metrics.
        by: `step` or `time`: seconds since the trial was first launched.
        points: maximum number of points of a curve.
        revision: that of the run.

    Raises:
        UsageError: an argument is out of its range.
    """
    if by not in (STEP, TIME):
        raise UsageError(f"by: expected {STEP} or {TIME}, got {by!r}")
    if not FEWEST <= points <= MOST:
        raise UsageError(f"points: expected {FEWEST} to {MOST}, got {points}")
    return Curves(
        by=by,
        points=points,
        metrics=list(dict.fromkeys(name for _, history in trials for name in history.metrics)),
        launched={str(trial.number): began for trial, _ in trials if (began := _launched(trial)) is not None},
        revision=revision,
        curves=[
            _curve(trial, name, known[name], by=by, points=points)
            for trial, history in trials
            for known in [history.metrics]
            for name in metrics
            if name in known
        ],
    )


def _curve(trial: TrialRecord, name: str, points_of: Points, *, by: str, points: int) -> Curve:
    places = thinned(points_of.values, points)
    began = _launched(trial) or (points_of.times[0] if points_of.times else 0.0)
    x: list[float] = [points_of.steps[place] for place in places]
    if by == TIME:
        x = [round(points_of.times[place] - began, 3) for place in places]
    attempts = [points_of.attempts[place] for place in places]
    return Curve(
        number=trial.number,
        metric=name,
        x=x,
        y=[finite(points_of.values[place]) for place in places],
        recorded=len(points_of.values),
        breaks=[place for place in range(1, len(places)) if attempts[place] != attempts[place - 1]],
    )


def _launched(trial: TrialRecord) -> float | None:
    return finite(min((attempt.launch_time for attempt in trial.attempts), default=None))
