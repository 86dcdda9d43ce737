"""A trial as a value: its facts, attempts and progress, and its state by an ordered table.

No file and no order of writing is shared between the writers of a record, so their interleaving cannot change the
outcome: attempts take in the events of `control.jsonl` and `exit.json` (`TrialRecord.after`), progress takes in the
history (`TrialRecord.with_history`), the events of all attempts without what a later attempt superseded.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sweeper.record.attempt import Attempt
from sweeper.record.causes import Cause
from sweeper.record.events import (
    CONVERGED,
    Abandoned,
    Checkpointed,
    Continued,
    Diagnosed,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Lost,
    Measured,
    Noticed,
    NotRepaired,
    Paused,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Unpaused,
)
from sweeper.record.facts import Facts
from sweeper.record.objectives import Point
from sweeper.record.progress import Progress, Series, fold
from sweeper.record.storage.checksums import Damage
from sweeper.record.storage.layout import AttemptDir, TrialDir


class State(enum.StrEnum):
    """The states of a trial: those of Optuna, and PAUSED."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do for the trial."""
        return self in (State.COMPLETE, State.PRUNED, State.FAIL)


class HistoryEntry(NamedTuple):
    """An event of a trial's history, and its `position`, from 1, among the events of its attempt.

    A `collected` event is `Metrics` that the orchestrator collected; its position is that among the collected ones.
    """

    attempt: int
    position: int
    event: Event
    collected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial at one moment, as its record has it.

    `attempts` are those that were launched, in order; `unlaunched` is what was recorded before the first launch.
    `paused` is true while a person has paused the trial, also while its attempt still saves a checkpoint. `diagnosed`
    is the timeline of the trial's health. `noticed` is what was found where the sweep file's `metrics` are read.
    `damage` are the places where the record is not as it was written.

    `state`, `step` (-1 before the first), `latest` (the time of the newest event, in seconds since the epoch) and
    `is_derived` (from another trial) follow from the rest. They are computed once, because they are read for all trials
    at once.
    """

    directory: TrialDir
    facts: Facts
    attempts: tuple[Attempt, ...] = ()
    unlaunched: Attempt = field(default_factory=lambda: Attempt(number=0))
    progress: Progress = field(default_factory=Progress)
    paused: bool = False
    diagnosed: tuple[Diagnosed, ...] = ()
    noticed: tuple[Noticed, ...] = ()
    damage: tuple[Damage, ...] = ()
    state: State = field(init=False)
    step: int = field(init=False)
    latest: float = field(init=False)
    is_derived: bool = field(init=False)

    def __post_init__(self) -> None:
        found = {"step": self.progress.step, "latest": self.progress.latest, "state": state_of(self)}
        for name, value in {**found, "is_derived": self.facts.derived is not None}.items():
            object.__setattr__(self, name, value)

    # ---- how it grows

    def after(self, events: Iterable[Event]) -> TrialRecord:
        """Return the trial after more events of its orchestrator (`control.jsonl`) and of its shims (`exit.json`).

        The first of two events of a kind for an attempt is valid. Only a person's stop replaces an earlier one: a
        person may end a trial that an interrupt stopped, or that was revived.
        """
        drafts = {attempt.number: _Draft(attempt) for attempt in (self.unlaunched, *self.attempts)}
        paused, diagnosed, noticed = self.paused, list(self.diagnosed), list(self.noticed)
        for event in events:
            if isinstance(event, Diagnosed):
                diagnosed.append(event)
            elif isinstance(event, Noticed):
                noticed.append(event)
            elif isinstance(event, Paused | Unpaused):
                paused = isinstance(event, Paused)
            elif isinstance(event, Launched):
                drafts.setdefault(event.attempt, _Draft(Attempt(number=event.attempt, launched=event)))
            elif (name := _FIELDS.get(type(event))) is not None:
                paused = paused and not isinstance(event, Revived)
                number: int = event.attempt  # type: ignore[attr-defined]  # each of these kinds has one
                if number in drafts:
                    drafts[number].add(name, event)
        return replace(
            self,
            unlaunched=drafts.pop(0).attempt(),
            attempts=tuple(drafts[number].attempt() for number in sorted(drafts)),
            paused=paused,
            diagnosed=tuple(diagnosed),
            noticed=tuple(noticed),
        )

    def with_history(self, entries: Sequence[HistoryEntry], *, anew: bool = False) -> TrialRecord:
        """Return the trial after more entries of its history; with `anew`, the entries are the whole history."""
        before = {"started": None, "saved": False, "finished": None} if anew else {}
        drafts = {attempt.number: _Draft(attempt, dict(before)) for attempt in self.attempts}
        for number, _, event, collected in entries:
            if number in drafts:
                if collected:
                    drafts[number].changes["collected"] = True
                elif isinstance(event, Started):
                    drafts[number].changes["started"] = event
                elif isinstance(event, Checkpointed):
                    drafts[number].changes["saved"] = True
                elif isinstance(event, Finished):
                    drafts[number].changes["finished"] = event
        progress = fold(
            (entry.event for entry in entries),
            None if anew else self.progress,
            objectives=[objective.name for objective in self.facts.objectives],
            constraints=[constraint.name for constraint in self.facts.constraints],
        )
        return replace(self, attempts=tuple(draft.attempt() for draft in drafts.values()), progress=progress)

    # ---- its attempts

    @property
    def newest(self) -> Attempt:
        """The newest attempt; `unlaunched` where none was launched."""
        return self.attempts[-1] if self.attempts else self.unlaunched

    @property
    def attempt_dir(self) -> AttemptDir:
        """The directory of the newest attempt."""
        return self.directory.attempt(self.newest.number)

    def attempt(self, number: int) -> Attempt | None:
        """Return the launched attempt with this number, None where there is none."""
        return next((attempt for attempt in self.attempts if attempt.number == number), None)

    @property
    def outcome(self) -> str:
        """The outcome that the script reported in the newest attempt that opened the trial; empty if it did not."""
        opened = (attempt for attempt in reversed(self.attempts) if attempt.started or attempt.finished)
        return next((attempt.outcome for attempt in opened), "")

    @property
    def continued(self) -> Continued | None:
        """The first decision after which the trial continued."""
        found = (attempt.continued for attempt in (self.unlaunched, *self.attempts) if attempt.continued)
        return next(found, None)

    @property
    def revived(self) -> bool:
        """Whether a person has revived the trial, so that no rule stops it."""
        return any(attempt.revived for attempt in (self.unlaunched, *self.attempts))

    def seconds(self, now: float) -> float:
        """Return the wall time of all attempts in seconds; a running one counts until `now`."""
        return sum(attempt.seconds(now) for attempt in self.attempts)

    # ---- what was damaged

    @property
    def damaged(self) -> int:
        """The number of places where the record is damaged."""
        return len(self.damage)

    @property
    def altered(self) -> tuple[Damage, ...]:
        """The damage that no writer leaves: something that was recorded is missing, or is not believed."""
        return tuple(one for one in self.damage if not one.torn)

    @property
    def undecided(self) -> bool:
        """Whether the trial is FAIL only because its record is damaged: what remains of it says that it waits."""
        return bool(self.altered) and _by_table(self) is State.WAITING

    # ---- what comes next

    @property
    def retry_number(self) -> int:
        """Which retry would come next, from 1, since the last retry that a person granted; it may exceed the maximum.

        0 where the newest attempt did not end by a cause of the retry policy, or was asked to stop. Preempted attempts
        do not count.
        """
        policy = self.facts.retry
        granted = max((attempt.number for attempt in self.attempts if attempt.retry_granted), default=0)
        counted = [
            attempt.number
            for attempt in self.attempts
            if attempt.number > granted
            and attempt.stop is None
            and not attempt.preempted
            and policy.covers(attempt.cause)
        ]
        return len(counted) if self.newest.number in counted else 0

    @property
    def backoff_s(self) -> float:
        """Seconds that the next attempt waits after the end of the newest; doubled from retry to retry."""
        return self.facts.retry.backoff_s * 2.0 ** (self.retry_number - 1) if self.retry_number else 0.0

    @property
    def needs_whole_device(self) -> bool:
        """Whether the trial must not share its devices, because it once ran out of memory beside others."""
        return any(attempt.crowded_out for attempt in self.attempts)

    # ---- what it has shown

    @property
    def number(self) -> int:
        """The number of its directory, which equals that of its facts."""
        return self.directory.number

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
    def series(self) -> Series | None:
        """The metric of the sweep, None before its first value."""
        return self.progress.metrics.get(self.facts.metric)

    @property
    def value(self) -> float | None:
        """The trial's value: its best evaluation or its last (`metric.at`); None before the first.

        With several objectives, it is that of the first, once the trial has `values`. None too if a line of a journal
        is damaged: the value may have been in it.
        """
        if any(one.file.suffix == ".jsonl" for one in self.altered):
            return None
        if self.facts.objectives:
            return None if self.values is None else self.values[0]
        if self.series is None:
            return None
        best = self.series.high if self.facts.maximize else self.series.low
        value = self.series.last if self.facts.at == "last" else best
        return value if math.isfinite(value) else None

    @property
    def point(self) -> Point | None:
        """The evaluation that counts if there are several objectives; None with one, or before the first value."""
        objectives = [objective.name for objective in self.facts.objectives]
        constraints = [constraint.name for constraint in self.facts.constraints]
        metrics = self.progress.metrics
        last = {name: metrics[name].last for name in (*objectives, *constraints) if name in metrics}
        return self.progress.rows.point(objectives, constraints, last) if objectives else None

    @property
    def values(self) -> tuple[float, ...] | None:
        """The value of each objective, from one evaluation; None as long as one is missing or not finite."""
        if not self.facts.objectives:
            return None if self.value is None else (self.value,)
        known = {} if (point := self.point) is None else point.values
        found = tuple(known.get(objective.name, math.nan) for objective in self.facts.objectives)
        return found if all(map(math.isfinite, found)) else None

    @property
    def constrained(self) -> Mapping[str, float]:
        """The value of each metric with bounds that was reported, from the evaluation that counts if it has one."""
        point, metrics = self.point, self.progress.metrics
        names = [constraint.name for constraint in self.facts.constraints]
        return {n: metrics[n].last if point is None else point.values[n] for n in names if n in metrics}

    @property
    def violations(self) -> tuple[float, ...]:
        """By how much each bound is missed: 0 or less if it is kept, infinity if its metric has no value."""
        known = self.constrained
        return tuple(v for c in self.facts.constraints for v in c.violations(known.get(c.name, math.nan)))

    @property
    def is_feasible(self) -> bool:
        """Whether the trial keeps to all constraints."""
        return all(violation <= 0 for violation in self.violations)


_FIELDS: Mapping[type[Event], str] = {
    StopRequested: "stop",
    Continued: "continued",
    Abandoned: "abandoned",
    KillSent: "killed",
    Lost: "lost",
    RetryGranted: "retry_granted",
    Revived: "revived",
    Measured: "measured",
    NotRepaired: "not_repaired",
    Exit: "exit",
}
"""The field of `Attempt` for each kind of event of the orchestrator and of the shim."""


@dataclass(slots=True)
class _Draft:
    """An attempt and the fields that change, so that several events make one new attempt."""

    before: Attempt
    changes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, event: Event) -> None:
        if isinstance(event, StopRequested) and event.by_person and not self.attempt().flagged:
            self.changes |= {"stop": event, "revived": None}
        elif self.changes.get(name, getattr(self.before, name)) is None:
            self.changes[name] = event

    def attempt(self) -> Attempt:
        return replace(self.before, **self.changes) if self.changes else self.before


# ---- the table of states --------------------------------------------------------------------------------------------


class StateRow(NamedTuple):
    """A row of the table of states: a condition in words and as a predicate, and the state where it holds."""

    when: str
    holds: Callable[[TrialRecord], bool]
    state: State


STATES = (
    StateRow(
        "no attempt was launched, and a person stopped the trial",
        lambda trial: not trial.attempts and trial.unlaunched.flagged,
        State.PRUNED,
    ),
    StateRow("no attempt was launched", lambda trial: not trial.attempts, State.WAITING),
    StateRow(
        "the newest attempt has no exit and was not declared lost",
        lambda trial: trial.newest.end is None,
        State.RUNNING,
    ),
    StateRow(
        "its script completed, and no exit code of its own contradicts that",
        lambda trial: trial.outcome == "completed",
        State.COMPLETE,
    ),
    StateRow(
        "it was asked to stop because it had converged",
        lambda trial: trial.newest.stop is not None and trial.newest.stop.cause == CONVERGED,
        State.COMPLETE,
    ),
    StateRow(
        "a decision stopped it, and no person has revived the trial since",
        lambda trial: trial.newest.flagged,
        State.PRUNED,
    ),
    StateRow(
        "it was asked to stop by an interrupt, or the trial was revived",
        lambda trial: trial.newest.stop is not None,
        State.WAITING,
    ),
    StateRow(
        "it exited with code 0, not after a stop from outside, and its script reported no outcome",
        lambda trial: _exited_with_0(trial.newest) and not trial.newest.outcome and not trial.newest.obeyed,
        State.COMPLETE,
    ),
    StateRow(
        "a person granted a retry",
        lambda trial: trial.newest.retry_granted is not None,
        State.WAITING,
    ),
    StateRow(
        "a shared device had no memory left for it (the next attempt gets whole devices)",
        lambda trial: trial.newest.crowded_out,
        State.WAITING,
    ),
    StateRow(
        "it was preempted after it saved a checkpoint, and the retry policy covers that (any number of times)",
        lambda trial: trial.newest.preempted and trial.facts.retry.covers(Cause.STOPPED),
        State.WAITING,
    ),
    StateRow(
        "the retry policy covers its cause, and retries are left",
        lambda trial: 0 < trial.retry_number <= trial.facts.retry.max,
        State.WAITING,
    ),
    StateRow("anything else", lambda _: True, State.FAIL),
)
"""The state of a trial: the first row with a condition that holds.

A paused trial is PAUSED, not WAITING. A damaged one is FAIL, not WAITING, because it may have ended."""


def _exited_with_0(attempt: Attempt) -> bool:
    return attempt.exit is not None and attempt.exit.code == 0


def state_of(trial: TrialRecord) -> State:
    """Return the state of a trial by the table `STATES`."""
    state = _by_table(trial)
    if state is State.WAITING and trial.altered:
        return State.FAIL
    return State.PAUSED if state is State.WAITING and trial.paused else state


def _by_table(trial: TrialRecord) -> State:
    return next(row.state for row in STATES if row.holds(trial))
