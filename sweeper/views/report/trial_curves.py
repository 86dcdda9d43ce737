"""The course of one trial, as the report draws it: taken once from its record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeper.record.events import Metrics, Observation, Watching
from sweeper.record.trial import Entry, Trial
from sweeper.views.figures.history import DepthHistory, Look

MOST_POINTS = 400
"""Of a curve: about one a pixel of half the page's width; more are thinned evenly, the last one kept."""

Points = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A trial, its curves by step, and the history of its depth profile."""

    trial: Trial
    values: Points
    losses: Points
    reach: Points
    depth: DepthHistory
    layers: Sequence[str]

    @property
    def number(self) -> str:
        """``0007``."""
        return f"{self.trial.facts.number:04d}"

    def spans(self, now: float) -> Iterator[tuple[str, float, float]]:
        """Slot, begin and end of each attempt; in seconds since the epoch."""
        for attempt, launched in self.trial.control.launched.items():
            yield launched.slot, launched.time, launched.time + self.trial.seconds_of(attempt, now)


def course_of(trial: Trial, history: Sequence[Entry]) -> Course:
    """The course of a trial, from its history."""
    values: list[tuple[int, float]] = []
    losses: list[tuple[int, float]] = []
    reach: list[tuple[int, float]] = []
    depth, watching = DepthHistory(), None
    loss = _loss_name(trial)
    for attempt, _, event in history:
        match event:
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
                    depth.add(Look(event, watching, trial.directory.attempt(attempt)))
    return Course(
        trial=trial,
        values=_thinned(values),
        losses=_thinned(losses),
        reach=_thinned(reach),
        depth=depth,
        layers=watching.layers if watching is not None else (),
    )


def _loss_name(trial: Trial) -> str:
    """`loss/train`, or the first metric that calls itself a loss and is not what trials are valued by."""
    names = [name for name in trial.progress.metrics if "loss" in name.lower() and name != trial.facts.metric]
    return "loss/train" if "loss/train" in names else next(iter(names), "")


def _thinned(points: list[tuple[int, float]]) -> Points:
    every = -(-len(points) // MOST_POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]
