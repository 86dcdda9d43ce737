"""The state of a trial as a pure fold over its events.

Two folds meet in `state_of`: `fold` over what the training script appended (the *history*: the events of all
attempts, cut where a later attempt took over) and `control_of` over what the orchestrator appended. They share no
file and no order, so no interleaving of the writers can change the outcome.

The table that `state_of` walks, first row that holds:

    no attempt was launched                             WAITING, or PRUNED where a person ended it
    the last attempt has neither exit nor loss          RUNNING  (its lease says whether that is still true)
    its script finished                                 COMPLETE
    it was asked to stop because it had converged       COMPLETE
    a decision asked it to stop                         PRUNED, or WAITING where a person revived it since
    an interrupt asked it to stop                       WAITING  (it resumes)
    its process ended with code 0, and it said nothing  COMPLETE (a plain command that reports nothing)
    a retry was granted after it                        WAITING
    a device that it shared had no memory left for it   WAITING  (it is run again with its devices to itself)
    a stranger stopped it, and it saved a checkpoint    WAITING  (it resumes, as often as that happens)
    its cause is one that the trial is retried after    WAITING, until `Retry.max` retries are behind it; then FAIL
    anything else                                       FAIL

Where this says WAITING, a trial that a person paused is PAUSED.

The cause of an attempt's end (`cause_of_end`), first row that holds:

    it runs, or its script said that it completed       none
    it was given up by the orchestrator                 what it was given up for: hung, or lost (its device is)
    it left no exit                                     lost
    a device of any of its ranks had no memory left     cuda-oom
    its script said that it was stopped                 stopped  (by a stranger, where nobody here asked)
    its script said that it failed                      cuda-oom, or error
    anything else                                       what the shim saw: killed, oom, not-found, error, or code 0
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from sweeper.record.causes import Cause
from sweeper.record.events import (
    PERSON,
    Abandoned,
    Checkpointed,
    Condemned,
    Diagnosed,
    Event,
    Exit,
    Finished,
    Held,
    KillSent,
    Launched,
    Lost,
    Measured,
    Metrics,
    Noted,
    Observation,
    Parameters,
    Plan,
    Released,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Watching,
)
from sweeper.record.values.schedule import effective_lr


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """After which causes of an end a trial is run again: at most `max` times, the n-th `backoff_s * 2**(n-1)` later.

    Who was stopped by a stranger, and obeyed, is retried where `killed` is. Ends that were asked for here, by a rule or
    a person, are no retries.
    """

    max: int = 2
    on: Sequence[str] = (Cause.KILLED, Cause.LOST, Cause.HUNG)
    backoff_s: float = 1.0

    @classmethod
    def read(cls, value: object) -> Retry:
        """What stands in `trial.json`; the defaults where it is of before there was any.

        Raises:
            TypeError: it is no such thing.
        """
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a mapping, got {value!r}")
        kinds: Mapping[str, Any] = {"max": int, "on": list, "backoff_s": int | float}
        known = {name: value[name] for name in kinds if name in value}
        if not all(isinstance(part, kinds[name]) for name, part in known.items()):
            raise TypeError(f"expected max, a list on, and backoff_s, got {value!r}")
        return replace(cls(**known), on=tuple(known.get("on", cls().on)))

    def after(self, cause: str) -> bool:
        """Whether a trial is run again after an end of this cause."""
        return (Cause.KILLED if cause == Cause.STOPPED else cause) in self.on


PRUNED = "pruned"
"""The cause of a stop that follows from a decision."""
CONVERGED = "converged"
"""The cause of a stop because nothing is left to gain (`early_stop.stop_when`): the trial is complete."""


class State(enum.StrEnum):
    """The states of a trial: Optuna's words, and one more."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for the trial."""
        return self in (State.COMPLETE, State.PRUNED, State.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What is kept of one metric: its first value, its last, and its extremes. NaN is never an extreme."""

    last: float
    last_step: int
    first: float = math.nan
    low: float = math.nan
    low_step: int = -1
    high: float = math.nan
    high_step: int = -1

    @classmethod
    def of(cls, values: Sequence[tuple[float, int]], before: Series | None = None) -> Series:
        """The series of these values, at least one, each with its step; or of what was before, and these."""
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
    """What the training script has done so far, as far as it is still valid.

    `effective_lr` is the highest learning rate observed, as it acted (see `record.schedule`). `saved` are the attempts
    that saved a checkpoint. `outcome` and `error` are of the newest attempt that opened the trial, which is `attempt`
    (0: not recorded); `finished` has those of all.
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
    saved: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    skipped: int = 0
    outcome: str = ""
    error: str = ""
    attempt: int = 0
    finished: Mapping[int, Finished] = field(default_factory=dict)
    started: float = math.nan
    latest: float = math.nan
    first_step: int = -1


def fold(history: Iterable[Event], progress: Progress | None = None) -> Progress:
    """The progress after all events of a history, or after these where it had come so far already."""
    # Changed in place within, and copied once: a thousand trials have a hundred thousand events.
    draft = SimpleNamespace(**{name: getattr(progress or _NOTHING, name) for name in _FIELDS})
    draft.values = {}
    for event in history:
        take = _TAKEN.get(type(event))
        if take is not None:
            take(draft, event)
        draft.latest = event.time
    series = {name: Series.of(values, draft.metrics.get(name)) for name, values in draft.__dict__.pop("values").items()}
    draft.metrics = {**draft.metrics, **series}
    return Progress(**draft.__dict__)


_FIELDS = tuple(Progress.__dataclass_fields__)
_NOTHING = Progress()


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the orchestrator did with a trial, by attempt; `held` says whether a person paused it.

    `diagnosed` is the timeline of the trial's health, as it was recorded.
    """

    launched: Mapping[int, Launched] = field(default_factory=dict)
    stops: Mapping[int, StopRequested] = field(default_factory=dict)
    condemned: Mapping[int, Condemned] = field(default_factory=dict)
    killed: Mapping[int, KillSent] = field(default_factory=dict)
    lost: Mapping[int, Lost] = field(default_factory=dict)
    abandoned: Mapping[int, Abandoned] = field(default_factory=dict)
    retries: Mapping[int, RetryGranted] = field(default_factory=dict)
    revived: Mapping[int, Revived] = field(default_factory=dict)
    measured: Mapping[int, Measured] = field(default_factory=dict)
    held: bool = False
    diagnosed: tuple[Diagnosed, ...] = ()

    @property
    def health(self) -> dict[str, Diagnosed]:
        """The diagnoses that hold now, by name, in the order in which they began."""
        holding: dict[str, Diagnosed] = {}
        for event in self.diagnosed:
            holding.pop(event.diagnosis, None)
            if event.holds:
                holding[event.diagnosis] = event
        return holding

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
        """The stop asked of the newest attempt."""
        return self.stops.get(self.attempt)

    def is_condemned(self, attempt: int) -> bool:
        """Whether a decision was to end the attempt, and nobody wanted the trial to go on since."""
        stop = self.stops.get(attempt)
        return stop is not None and stop.cause == PRUNED and attempt not in self.revived

    @property
    def ended_by_person(self) -> bool:
        """Whether the decision that ends the newest attempt is a person's."""
        return self.stop is not None and self.is_condemned(self.attempt) and _is_a_persons(self.stop)


_KEPT: Mapping[type[Event], str] = {
    Launched: "launched",
    StopRequested: "stops",
    Condemned: "condemned",
    KillSent: "killed",
    Lost: "lost",
    Abandoned: "abandoned",
    RetryGranted: "retries",
    Revived: "revived",
    Measured: "measured",
}
"""Where `Control` keeps the events of a kind, by attempt."""


def control_of(events: Iterable[Event], control: Control | None = None) -> Control:
    """The control state after all events; the first of two for the same attempt stands.

    But a person's word is the last one: who ends a trial that an interrupt stopped, or that was revived since, ends it.
    """
    control = control or Control()
    for event in events:
        match event:
            case Diagnosed():
                control = replace(control, diagnosed=(*control.diagnosed, event))
            case Held() | Released():
                control = replace(control, held=isinstance(event, Held))
            case StopRequested(attempt=attempt) if _is_a_persons(event) and not control.is_condemned(attempt):
                others = {number: one for number, one in control.revived.items() if number != attempt}
                control = replace(control, stops={**control.stops, attempt: event}, revived=others)
            case _ if (name := _KEPT.get(type(event))) is not None:
                attempt = cast("Launched", event).attempt  # each of these kinds has one
                kept: Any = {name: {attempt: event, **getattr(control, name)}}
                control = replace(control, **kept, held=control.held and not isinstance(event, Revived))
    return control


def _is_a_persons(stop: StopRequested) -> bool:
    return stop.decision is not None and stop.decision.get("rule") == PERSON


def state_of(control: Control, progress: Progress, exits: Mapping[int, Exit], retry: Retry | None = None) -> State:
    """The state of a trial, by the table at the head of this module."""
    state = _state_of(control, progress, exits, retry)
    return State.PAUSED if state is State.WAITING and control.held else state


def _state_of(control: Control, progress: Progress, exits: Mapping[int, Exit], retry: Retry | None) -> State:
    attempt = control.attempt
    if attempt == 0:
        return State.PRUNED if control.is_condemned(attempt) else State.WAITING
    ended = exits.get(attempt)
    if ended is None and attempt not in control.lost:
        return State.RUNNING
    if progress.outcome == "completed":
        return State.COMPLETE
    if control.stop is not None and control.stop.cause == CONVERGED:
        return State.COMPLETE
    if control.stop is not None:
        return State.PRUNED if control.is_condemned(attempt) else State.WAITING
    if ended is not None and ended.code == 0 and not _said(control, progress, attempt):
        return State.COMPLETE
    if attempt in control.retries:
        return State.WAITING
    if crowded_out(control, progress, exits, attempt):
        return State.WAITING
    retry = retry or Retry()
    if _yielded(control, progress, exits, attempt) and retry.after(Cause.STOPPED):
        return State.WAITING
    return State.WAITING if 0 < retry_of(control, progress, exits, retry) <= retry.max else State.FAIL


def cause_of_end(control: Control, progress: Progress, exits: Mapping[int, Exit], attempt: int) -> str:
    """Why an attempt ended, in one word (`record.causes`); empty while it runs, and where it ended well."""
    ended = exits.get(attempt)
    said = _said(control, progress, attempt)
    if said == "completed" or (ended is None and attempt not in control.lost):
        return ""  # whoever kills a script that has finished takes nothing from it
    if attempt in control.abandoned:
        return control.abandoned[attempt].cause
    if ended is None:
        return Cause.LOST
    if ended.cause == Cause.CUDA_OOM:
        return Cause.CUDA_OOM  # whatever the first rank made of the end of another
    match said:
        case "stopped":
            return Cause.STOPPED
        case "failed":
            finished = progress.finished.get(attempt)
            return (finished.cause if finished is not None else "") or Cause.ERROR
    return ended.cause


def retry_of(control: Control, progress: Progress, exits: Mapping[int, Exit], retry: Retry) -> int:
    """Which retry would come next, from 1, counted since the last that was granted; it may be one too many.

    0 where the newest attempt did not end by a cause that the trial is retried after, or was asked to end; nor does one
    count that only made room.
    """
    since = max(control.retries, default=0)
    ends = [
        attempt
        for attempt in control.launched
        if attempt > since
        and attempt not in control.stops
        and not _yielded(control, progress, exits, attempt)
        and retry.after(cause_of_end(control, progress, exits, attempt))
    ]
    return len(ends) if control.attempt in ends else 0


def _yielded(control: Control, progress: Progress, exits: Mapping[int, Exit], attempt: int) -> bool:
    """Whether an attempt made room for a stranger, such as a scheduler whose time was over, and lost nothing by it.

    Each such attempt came further than the one before, so that there is no end to how many there may be.
    """
    return attempt in progress.saved and cause_of_end(control, progress, exits, attempt) == Cause.STOPPED


def crowded_out(control: Control, progress: Progress, exits: Mapping[int, Exit], attempt: int) -> bool:
    """Whether a device that the attempt shared had no memory left for it."""
    gpus = control.launched[attempt].gpus
    shared = gpus is not None and 0 < gpus < 1
    return shared and cause_of_end(control, progress, exits, attempt) == Cause.CUDA_OOM


def _said(control: Control, progress: Progress, attempt: int) -> str:
    """The outcome that an attempt's own script gave; empty where it gave none.

    In records without the number of the attempt that speaks, it is the newest.
    """
    if attempt in progress.finished:
        return progress.finished[attempt].outcome
    return progress.outcome if attempt == control.attempt and progress.attempt == 0 else ""


# ---- what an event changes of a draft of `Progress` -----------------------------------------------------------------


def _started(draft: SimpleNamespace, event: Started) -> None:
    draft.attempt, draft.started, draft.first_step = event.attempt, event.time, -1
    draft.outcome = draft.error = ""


def _resumed(draft: SimpleNamespace, event: Resumed) -> None:
    draft.step = max(draft.step, event.step)


def _planned(draft: SimpleNamespace, event: Plan) -> None:
    draft.total_steps, draft.peak_lr, draft.uncorrected = event.total_steps, event.peak_lr, event.uncorrected


def _watching(draft: SimpleNamespace, event: Watching) -> None:
    draft.watching = event


def _parameters(draft: SimpleNamespace, event: Parameters) -> None:
    draft.parameters = event


def _observed(draft: SimpleNamespace, event: Observation) -> None:
    draft.observation = event
    draft.skipped += event.skipped
    rate = effective_lr(event.learning_rate, event.step, draft.uncorrected)
    # Not max(): either may be NaN, and then the other is to stay.
    if rate > draft.effective_lr or math.isnan(draft.effective_lr):
        draft.effective_lr = rate
    _at_step(draft, event.step)


def _measured(draft: SimpleNamespace, event: Metrics) -> None:
    for name, value in event.values.items():
        if name in draft.values:
            draft.values[name].append((value, event.step))
        else:
            draft.values[name] = [(value, event.step)]
    _at_step(draft, event.step)


def _checkpointed(draft: SimpleNamespace, event: Checkpointed) -> None:
    draft.checkpoint = event.step
    draft.saved |= {draft.attempt}
    _at_step(draft, event.step)


def _noted(draft: SimpleNamespace, event: Noted) -> None:
    draft.notes = (*draft.notes, event.text)


def _finished(draft: SimpleNamespace, event: Finished) -> None:
    draft.outcome, draft.error = event.outcome, event.error
    draft.finished = {**draft.finished, draft.attempt: event}


def _at_step(draft: SimpleNamespace, step: int) -> None:
    draft.step = max(draft.step, step)
    if draft.first_step < 0:
        draft.first_step = step


_TAKEN: Mapping[type[Event], Callable[[SimpleNamespace, Any], None]] = {
    Started: _started,
    Resumed: _resumed,
    Plan: _planned,
    Parameters: _parameters,
    Watching: _watching,
    Observation: _observed,
    Metrics: _measured,
    Checkpointed: _checkpointed,
    Noted: _noted,
    Finished: _finished,
}
