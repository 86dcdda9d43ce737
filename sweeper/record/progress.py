"""What the training script has done: a pure fold over the history of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from sweeper.record.events import (
    Checkpointed,
    Event,
    Inferred,
    Metrics,
    Noted,
    Observation,
    Parameters,
    Plan,
    Resumed,
    Spiked,
    Started,
    Watching,
)
from sweeper.record.objectives import Rows
from sweeper.record.values.schedule import effective_lr


class Evaluation(NamedTuple):
    """One value of the metric: `time` in seconds since the epoch, `step` an optimizer step."""

    time: float
    step: int
    value: float


def evaluations(history: Iterable[Event], metric: str) -> list[Evaluation]:
    """Return all values of a metric in a trial's history, in order."""
    return [
        Evaluation(event.time, event.step, event.values[metric])
        for event in history
        if isinstance(event, Metrics) and metric in event.values
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The summary of one metric: the first and the last value, and the extremes. NaN is never an extreme."""

    last: float
    last_step: int
    first: float = math.nan
    low: float = math.nan
    low_step: int = -1
    high: float = math.nan
    high_step: int = -1

    @classmethod
    def of(cls, values: Sequence[tuple[float, int]], before: Series | None = None) -> Series:
        """Return the summary of at least one (value, step) pair, added to an earlier summary if there is one."""
        first, low, low_step, high, high_step = values[0][0], math.nan, -1, math.nan, -1
        if before is not None:
            first, low, low_step = before.first, before.low, before.low_step
            high, high_step = before.high, before.high_step
        for value, step in values:
            if math.isfinite(value):
                if not value >= low:
                    low, low_step = value, step
                if not value <= high:
                    high, high_step = value, step
        last, last_step = values[-1]
        return cls(
            last=last, last_step=last_step, first=first, low=low, low_step=low_step, high=high, high_step=high_step
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the training script has done so far, without what later attempts superseded.

    `effective_lr` is the highest learning rate observed, corrected by `values.schedule`. `started` is when the newest
    attempt opened the trial, `latest` the time of the newest event, both in seconds since the epoch. `step` is the
    newest step (-1 before the first), `first_step` the first of the newest attempt, and `first_step_at` when it was
    recorded. `resumed` is the step after which the newest attempt resumed, -1 if it did not. `inferred` is what
    `watch: auto` has found, by the kind of `Inferred`. `rows` are the recent values of several objectives together.
    `skipped` are the steps that a gradient scaler skipped; `spikes` and `spikes_skipped` are the numbers of spikes and
    of steps that were skipped because of one, and `newest_spikes` the last `SPIKES_KEPT`.
    """

    total_steps: int | None = None
    peak_lr: float | None = None
    uncorrected: tuple[float, ...] = ()
    effective_lr: float = math.nan
    step: int = -1
    metrics: Mapping[str, Series] = field(default_factory=dict)
    observation: Observation | None = None
    watching: Watching | None = None
    parameters: Parameters | None = None
    checkpoint: int | None = None
    notes: tuple[str, ...] = ()
    inferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: int = 0
    started: float = math.nan
    latest: float = math.nan
    first_step: int = -1
    first_step_at: float = math.nan
    resumed: int = -1
    rows: Rows = field(default_factory=Rows)
    spikes: int = 0
    spikes_skipped: int = 0
    newest_spikes: tuple[Spiked, ...] = ()


SPIKES_KEPT = 3
"""The number of spikes that `Progress` has with their values."""


def fold(
    history: Iterable[Event],
    progress: Progress | None = None,
    *,
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
) -> Progress:
    """Return the progress after all events of a history, or after these events added to an earlier `progress`.

    Args:
        history: the events.
        progress: the progress before them.
        objectives: the names of the objectives if there are several; their values at one step are kept together.
        constraints: the names of the metrics with bounds; their values are kept with those of the objectives.
    """
    # The draft is mutable and copied once: a thousand trials have a hundred thousand events.
    draft = SimpleNamespace(**{name: getattr(progress or _NOTHING, name) for name in _FIELDS})
    draft.values = {}
    for event in history:
        take = _TAKEN.get(type(event))
        if take is not None:
            take(draft, event)
        if objectives and isinstance(event, Metrics) and not event.values.keys().isdisjoint(objectives):
            together = {name: event.values[name] for name in (*objectives, *constraints) if name in event.values}
            draft.rows = draft.rows.after(event.step, together, objectives)
        draft.latest = event.time
    series = {name: Series.of(values, draft.metrics.get(name)) for name, values in draft.__dict__.pop("values").items()}
    draft.metrics = {**draft.metrics, **series}
    return Progress(**draft.__dict__)


_FIELDS = tuple(Progress.__dataclass_fields__)
_NOTHING = Progress()


# ---- what each event changes in a draft of `Progress` ---------------------------------------------------------------


def _started(draft: SimpleNamespace, event: Started) -> None:
    draft.started, draft.first_step, draft.first_step_at, draft.resumed = event.time, -1, math.nan, -1


def _resumed(draft: SimpleNamespace, event: Resumed) -> None:
    draft.step, draft.resumed = max(draft.step, event.step), event.step


def _planned(draft: SimpleNamespace, event: Plan) -> None:
    draft.total_steps, draft.peak_lr, draft.uncorrected = event.total_steps, event.peak_lr, event.uncorrected


def _watching(draft: SimpleNamespace, event: Watching) -> None:
    draft.watching = event


def _parameters(draft: SimpleNamespace, event: Parameters) -> None:
    draft.parameters = event


def _observed(draft: SimpleNamespace, event: Observation) -> None:
    draft.observation = event
    draft.skipped += event.skipped - event.withheld
    rate = effective_lr(event.learning_rate, event.step, draft.uncorrected)
    # Not max(): either may be NaN, and then the other has to remain.
    if rate > draft.effective_lr or math.isnan(draft.effective_lr):
        draft.effective_lr = rate
    _at_step(draft, event)


def _measured(draft: SimpleNamespace, event: Metrics) -> None:
    for name, value in event.values.items():
        if name in draft.values:
            draft.values[name].append((value, event.step))
        else:
            draft.values[name] = [(value, event.step)]
    _at_step(draft, event)


def _checkpointed(draft: SimpleNamespace, event: Checkpointed) -> None:
    draft.checkpoint = event.step
    _at_step(draft, event)


def _spiked(draft: SimpleNamespace, event: Spiked) -> None:
    draft.spikes += event.count
    draft.spikes_skipped += event.skipped
    draft.newest_spikes = (*draft.newest_spikes, event)[-SPIKES_KEPT:]


def _noted(draft: SimpleNamespace, event: Noted) -> None:
    draft.notes = (*draft.notes, event.text)


def _inferred(draft: SimpleNamespace, event: Inferred) -> None:
    known = draft.inferred.get(event.kind, ())
    draft.inferred = {**draft.inferred, event.kind: tuple(dict.fromkeys([*known, *event.names]))}


def _at_step(draft: SimpleNamespace, event: Observation | Metrics | Checkpointed) -> None:
    draft.step = max(draft.step, event.step)
    if draft.first_step < 0:
        draft.first_step, draft.first_step_at = event.step, event.time


_TAKEN: Mapping[type[Event], Callable[[SimpleNamespace, Any], None]] = {
    Started: _started,
    Resumed: _resumed,
    Plan: _planned,
    Parameters: _parameters,
    Watching: _watching,
    Observation: _observed,
    Metrics: _measured,
    Checkpointed: _checkpointed,
    Spiked: _spiked,
    Noted: _noted,
    Inferred: _inferred,
}
