"""The state of a trial as a pure fold over its events.

Two folds meet in `state_of`: `advance` over what the training script appended (the *history*: the events of all
attempts, cut where a later attempt took over) and `control_of` over what the orchestrator appended. They share no
file and no order, so no interleaving of the writers can change the outcome.

The table that `state_of` walks, first row that holds:

    no attempt was launched                             WAITING
    the last attempt has neither exit nor loss          RUNNING  (its lease says whether that is still true)
    its script finished                                 COMPLETE
    a decision asked it to stop                         PRUNED, or WAITING where a person revived it
    an interrupt asked it to stop                       WAITING  (it resumes)
    its process ended with code 0, unasked by SIGTERM   COMPLETE (a plain command that reports nothing)
    it was killed, lost or stopped by a stranger        WAITING, until RETRIES such ends are behind it; then FAIL
    a retry was granted after it                        WAITING
    anything else                                       FAIL
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.record.events import (
    Checkpointed,
    Condemned,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Lost,
    Metrics,
    Noted,
    Observation,
    Plan,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Watching,
)
from sweeper.record.schedule import effective_lr

RETRIES = 2


class State(enum.StrEnum):
    """The states of a trial: Optuna's words."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for the trial."""
        return self in (State.COMPLETE, State.PRUNED, State.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What is kept of one metric: its last value and its extremes, each with its step. NaN is never an extreme."""

    last: float
    last_step: int
    low: float = math.nan
    low_step: int = -1
    high: float = math.nan
    high_step: int = -1

    def followed_by(self, value: float, step: int) -> Series:
        """The series with one more value."""
        finite = math.isfinite(value)
        low, low_step = (value, step) if finite and not value >= self.low else (self.low, self.low_step)
        high, high_step = (value, step) if finite and not value <= self.high else (self.high, self.high_step)
        return Series(last=value, last_step=step, low=low, low_step=low_step, high=high, high_step=high_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the training script has done so far, as far as it is still valid.

    `effective_lr` is the highest learning rate observed, as it acted (see `record.schedule`).
    """

    total_steps: int | None = None
    peak_lr: float | None = None
    uncorrected: tuple[float, ...] = ()
    effective_lr: float = math.nan
    step: int = -1
    metrics: Mapping[str, Series] = field(default_factory=dict)
    observation: Observation | None = None
    watching: Watching | None = None
    checkpoint: int | None = None
    notes: tuple[str, ...] = ()
    skipped: int = 0
    outcome: str = ""
    error: str = ""
    started: float = math.nan
    latest: float = math.nan
    first_step: int = -1


def advance(progress: Progress, event: Event) -> Progress:
    """The progress after one more event of the history."""
    # One copy an event: a thousand trials have a hundred thousand of them to be read after a crash.
    return replace(progress, latest=event.time, **_changes(progress, event))


def _changes(progress: Progress, event: Event) -> dict[str, Any]:
    """What an event changes, by field."""
    match event:
        case Started():
            return {"outcome": "", "error": "", "started": event.time, "first_step": -1}
        case Resumed():
            return {"step": max(progress.step, event.step)}
        case Plan():
            return {"total_steps": event.total_steps, "peak_lr": event.peak_lr, "uncorrected": event.uncorrected}
        case Watching():
            return {"watching": event}
        case Observation():
            return {**_observed(progress, event), **_at_step(progress, event.step)}
        case Metrics():
            return {"metrics": _with_values(progress.metrics, event), **_at_step(progress, event.step)}
        case Checkpointed():
            return {"checkpoint": event.step, **_at_step(progress, event.step)}
        case Noted():
            return {"notes": (*progress.notes, event.text)}
        case Finished():
            return {"outcome": event.outcome, "error": event.error}
    return {}


def fold(history: Iterable[Event], progress: Progress | None = None) -> Progress:
    """The progress after all events of a history."""
    progress = progress or Progress()
    for event in history:
        progress = advance(progress, event)
    return progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the orchestrator did with a trial, by attempt."""

    launched: Mapping[int, Launched] = field(default_factory=dict)
    stops: Mapping[int, StopRequested] = field(default_factory=dict)
    condemned: Mapping[int, Condemned] = field(default_factory=dict)
    killed: Mapping[int, KillSent] = field(default_factory=dict)
    lost: Mapping[int, Lost] = field(default_factory=dict)
    retries: Mapping[int, RetryGranted] = field(default_factory=dict)
    revived: Mapping[int, Revived] = field(default_factory=dict)

    @property
    def attempt(self) -> int:
        """The newest attempt, 0 where none was launched."""
        return max(self.launched, default=0)

    @property
    def spared(self) -> Condemned | None:
        """The first decision against the trial after which it was let run on."""
        return self.condemned[min(self.condemned)] if self.condemned else None

    @property
    def stop(self) -> StopRequested | None:
        """The first stop asked of the newest attempt."""
        return self.stops.get(self.attempt)


def control_of(events: Iterable[Event], control: Control | None = None) -> Control:
    """The control state after all events; the first of two for the same attempt stands."""
    control = control or Control()
    for event in events:
        match event:
            case Launched():
                control = replace(control, launched={event.attempt: event, **control.launched})
            case StopRequested():
                control = replace(control, stops={event.attempt: event, **control.stops})
            case Condemned():
                control = replace(control, condemned={event.attempt: event, **control.condemned})
            case KillSent():
                control = replace(control, killed={event.attempt: event, **control.killed})
            case Lost():
                control = replace(control, lost={event.attempt: event, **control.lost})
            case RetryGranted():
                control = replace(control, retries={event.attempt: event, **control.retries})
            case Revived():
                control = replace(control, revived={event.attempt: event, **control.revived})
    return control


def state_of(control: Control, progress: Progress, exits: Mapping[int, Exit]) -> State:
    """The state of a trial, by the table at the head of this module."""
    attempt = control.attempt
    if attempt == 0:
        return State.WAITING
    ended = exits.get(attempt)
    if ended is None and attempt not in control.lost:
        return State.RUNNING
    stop = control.stops.get(attempt)
    if progress.outcome == "completed":
        return State.COMPLETE
    if stop is not None:
        return (
            State.WAITING if attempt in control.revived else State.PRUNED if stop.cause == "pruned" else State.WAITING
        )
    if ended is not None and ended.code == 0 and not progress.outcome:
        return State.COMPLETE
    if attempt in control.retries:
        return State.WAITING
    if cause_of_end(control, progress, exits, attempt) in _RETRIED:
        return State.WAITING if _unasked_ends(control, progress, exits) <= RETRIES else State.FAIL
    return State.FAIL


_RETRIED = frozenset({"killed", "lost", "stopped"})


def cause_of_end(control: Control, progress: Progress, exits: Mapping[int, Exit], attempt: int) -> str:
    """Why an attempt ended, in one word; empty while it runs."""
    ended = exits.get(attempt)
    if attempt == control.attempt and ended is not None and ended.code == 0 and progress.outcome == "stopped":
        return "stopped"
    if ended is not None:
        return ended.cause
    return "lost" if attempt in control.lost else ""


def _unasked_ends(control: Control, progress: Progress, exits: Mapping[int, Exit]) -> int:
    """Attempts since the last granted retry that nobody here asked to stop and that did not end by themselves."""
    since = max(control.retries, default=0)
    return sum(
        attempt > since and attempt not in control.stops and cause_of_end(control, progress, exits, attempt) in _RETRIED
        for attempt in control.launched
    )


def _observed(progress: Progress, event: Observation) -> dict[str, Any]:
    rate = effective_lr(event.learning_rate, event.step, progress.uncorrected)
    # Not max(): either may be NaN, and then the other is to stay.
    highest = rate if math.isnan(progress.effective_lr) or rate > progress.effective_lr else progress.effective_lr
    return {"observation": event, "skipped": progress.skipped + event.skipped, "effective_lr": highest}


def _at_step(progress: Progress, step: int) -> dict[str, Any]:
    first = step if progress.first_step < 0 else progress.first_step
    return {"step": max(progress.step, step), "first_step": first}


def _with_values(metrics: Mapping[str, Series], event: Metrics) -> Mapping[str, Series]:
    updated = dict(metrics)
    for name, value in event.values.items():
        series = updated.get(name) or Series(last=value, last_step=event.step)
        updated[name] = series.followed_by(value, event.step)
    return updated
