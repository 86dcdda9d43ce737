"""The values of the objective, in the order in which a trial had them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sweeper.record.events import Event, Metrics


class Evaluation(NamedTuple):
    """One value of the metric: `time` in seconds since the epoch, at an optimizer step."""

    time: float
    step: int
    value: float


def evaluations(history: Iterable[Event], metric: str) -> list[Evaluation]:
    """All values of a metric in a trial's history."""
    return [
        Evaluation(event.time, event.step, event.values[metric])
        for event in history
        if isinstance(event, Metrics) and metric in event.values
    ]
