"""The curves of a trial that the report draws, read once from its history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweeper.record.events import Metrics, Observation, Watching
from sweeper.record.trial import HistoryEntry, TrialRecord
from sweeper.record.values.extremes import tamed
from sweeper.views.figures.history import DepthHistory, RecordedObservation

MOST_POINTS = 400
"""Maximum number of points of a curve, about one per two pixels; curves are thinned evenly, keeping the last point."""

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialCurves:
    """The value, loss and reach of a trial by step, and the history of its depth profile."""

    trial: TrialRecord
    values: Points
    losses: Points
    reach: Points
    depth: DepthHistory
    layers: Sequence[str]

    @property
    def number(self) -> str:
        """Return the number of the trial as text: ``0007``."""
        return f"{self.trial.facts.number:04d}"

    def spans(self, now: float) -> Iterator[tuple[str, float, float]]:
        """Yield the slot, begin and end of each attempt, in seconds since the epoch."""
        for attempt in self.trial.attempts:
            yield attempt.slot, attempt.launch_time, attempt.launch_time + attempt.seconds(now)


def curves_of_trial(trial: TrialRecord, history: Sequence[HistoryEntry]) -> TrialCurves:
    """Read the curves of a trial from its history."""
    values: list[tuple[int, float]] = []
    losses: list[tuple[int, float]] = []
    reach: list[tuple[int, float]] = []
    depth, watching = DepthHistory(), None
    loss = _loss_name(trial)
    for entry in history:
        match event := entry.event:
            case Metrics():
                if trial.facts.metric in event.values:
                    values.append((event.step, event.values[trial.facts.metric]))
                if loss in event.values:
                    losses.append((event.step, event.values[loss]))
            case Watching():
                watching = event
            case Observation():
                reach.append((event.step, event.reach))
                if watching is not None:
                    depth.add(RecordedObservation(event, watching, trial.directory.attempt(entry.attempt)))
    return TrialCurves(
        trial=trial,
        values=_thinned(values),
        losses=_thinned(losses),
        reach=_thinned(reach),
        depth=depth,
        layers=watching.layers if watching is not None else (),
    )


def joined(curves: Sequence[TrialCurves]) -> list[TrialCurves]:
    """Let the curves of each derived trial begin at the last point that its parent had when it was left."""
    known = {one.trial.facts.number: one for one in curves}
    found = []
    for one in curves:
        derived = one.trial.facts.derived
        parent = None if derived is None or derived.sibling is None else known.get(derived.sibling)
        if derived is not None and parent is not None:
            found.append(_continued(parent, one, derived.step))
        else:
            found.append(one)
    return found


def _continued(parent: TrialCurves, own: TrialCurves, step: int) -> TrialCurves:
    return replace(
        own,
        values=_after(parent.values, own.values, step),
        losses=_after(parent.losses, own.losses, step),
        reach=_after(parent.reach, own.reach, step),
    )


def _after(parent: Points, own: Points, step: int) -> Points:
    """Return points after the parent's last one up to a step; unchanged if they do not begin after that step."""
    before = [point for point in parent if point[0] <= step]
    return [before[-1], *own] if before and own and own[0][0] > step else own


def _loss_name(trial: TrialRecord) -> str:
    """Return ``loss/train``, or the first metric with "loss" in its name that is not the metric of the sweep."""
    names = [name for name in trial.progress.metrics if "loss" in name.lower() and name != trial.facts.metric]
    return "loss/train" if "loss/train" in names else next(iter(names), "")


def _thinned(points: list[tuple[int, float]]) -> Points:
    every = -(-len(points) // MOST_POINTS)
    kept = points if every <= 1 else [*points[:-1:every], points[-1]]
    return [(step, tamed(value)) for step, value in kept]
