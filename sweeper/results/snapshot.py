"""A snapshot of a sweep, the values derived from it, and the interface of the displays that show it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from sweeper.record.budget import BudgetLimits
from sweeper.record.events import AUDITED, Event, SweepWaiting
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted_values
from sweeper.results.wording import counted, duration, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """A sweep at one moment; the live table, the status and the ranking are made from it.

    Args:
        state: the state of the sweep, for example RUNNING.
        total: number of planned trials; None if the search has no end of its own.
        slots: names of the slots that the sweep runs on.
        now: seconds since the epoch.
        started: seconds since the epoch.
        messages: the newest messages to the user, oldest first.
        unreadable: one line for each trial with an unreadable record.
        damage: one line for each other place where the record is damaged.
        unstarted: says that the budget is spent and how many trials were not started; empty otherwise.
        title: the name as the sweep file has it, if the name of a directory cannot be so; empty otherwise.
        unmet: one line for each rule or metric that needs values that no trial logs (`rules.needs`).
        waiting: what trials wait for although slots are free; None if they do not.
        limits: the budget.
        log: the events of `log.jsonl`, where the sweep was read from its record; else empty.
        ended_earlier: the numbers of the trials that ended in earlier calls, where an orchestrator shows the sweep.
    """

    name: str
    state: str
    trials: Sequence[TrialRecord]
    total: int | None
    slots: Sequence[str]
    now: float
    started: float
    messages: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    damage: Sequence[str] = ()
    unstarted: str = ""
    unmet: Sequence[str] = ()
    title: str = ""
    waiting: SweepWaiting | None = None
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    log: Sequence[Event] = ()
    ended_earlier: AbstractSet[int] = frozenset()

    @property
    def metric(self) -> str:
        """Return the metric of the sweep; empty before the first trial."""
        return self.trials[0].facts.metric if self.trials else ""

    def count(self, *states: State) -> int:
        """Return the number of trials in one of the states."""
        return sum(trial.state in states for trial in self.trials)

    @property
    def slots_in_use(self) -> int:
        """Return the number of slots that run a trial."""
        return self.count(State.RUNNING)

    @property
    def seconds_left(self) -> float:
        """Estimate the seconds until the sweep ends; NaN before any trial has a known speed.

        The estimate is the number of steps left divided by the total speed. A trial that has not started is assumed to
        take as many steps as the trials that have ended did on average, including those stopped early.
        """
        running = [trial for trial in self.trials if trial.state is State.RUNNING]
        waiting = max(self.total or 0, len(self.trials)) - len(running) - self.count(State.PAUSED, *_ENDED)
        return time_left(running, waiting, lambda: _expected_steps(self.trials), len(self.slots))


class Display(Protocol):
    """Shows a sweep to a user; may also take input from the user."""

    def update(self, sweep: SweepView) -> None:
        """Show the sweep as it is now."""

    def filenos(self) -> Sequence[int]:
        """Return the file descriptors that become readable when the user does something."""
        return ()

    def pressed(self) -> bool:
        """Read the user's input. Return whether the display has to be updated at once."""
        return False


_ENDED = tuple(state for state in State if state.ended)


def time_left(running: Sequence[TrialRecord], waiting: int, expected: Callable[[], float], slots: int) -> float:
    """Estimate the seconds until a sweep ends; NaN before any trial has a known speed.

    Args:
        running: the trials that run.
        waiting: the number of trials that have not started.
        expected: returns how many steps a trial is expected to take; NaN if that is not known.
        slots: the number of slots; 0 if it is not known.
    """
    rates = [rate for trial in running if math.isfinite(rate := steps_per_second(trial))]
    steps = expected() if rates else math.nan
    if not math.isfinite(steps):
        return math.nan
    left = waiting * steps + sum(_steps_left(trial, steps) for trial in running)
    return left / (sum(rates) / len(rates) * max(1, min(slots or 1, len(running) + waiting)))


def steps_done(trial: TrialRecord) -> int:
    """Return the number of optimizer steps done, without steps that a resumed attempt repeated."""
    return trial.step + 1


def steps_per_second(trial: TrialRecord) -> float:
    """Return the speed of the newest attempt since its first step; NaN before its second step.

    Imports, data and the first step are left out: a short trial spends most of its time on them.
    """
    progress = trial.progress
    seconds = progress.latest - progress.first_step_at
    steps = progress.step - progress.first_step
    return steps / seconds if progress.first_step >= 0 and steps > 0 and seconds > 0 else math.nan


def seconds_left(trial: TrialRecord) -> float:
    """Estimate the seconds until the trial's last planned step; NaN if it is not running or has no planned steps."""
    total = trial.progress.total_steps
    if trial.state is not State.RUNNING or total is None:
        return math.nan
    return max(0, total - steps_done(trial)) / steps_per_second(trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What early stopping saved: planned steps that were not run, and the seconds that they would have taken.

    Args:
        trials: number of trials that a rule stopped.
        total: number of trials of the sweep.
        audited: number of flagged trials that were continued for the audit; nothing of them counts as saved.
        audit_steps: steps that the audited trials ran after they were flagged.
    """

    trials: int
    total: int
    steps: int
    seconds: float
    audited: int = 0
    audit_steps: int = 0

    def text(self) -> str:
        """Return the savings as a sentence without its full stop; empty if no rule stopped a trial or was audited."""
        parts = []
        if self.trials:
            stopped = f"stopping {self.trials} of {self.total} trials early"
            parts.append(f"{stopped} saved {self.steps} steps, about {duration(self.seconds)} of one slot")
        if self.audited:
            which = counted(self.audited, "flagged trial was", "flagged trials were")
            parts.append(f"{which} continued for the audit and took {self.audit_steps} more steps")
        return "; ".join(parts)


def savings_of(sweep: SweepView) -> Savings:
    """Sum the savings over trials that a rule stopped and that have planned steps, each at its own speed."""
    return all_savings((one for trial in sweep.trials if (one := own_savings(trial))), len(sweep.trials))


def all_savings(parts: Iterable[Savings], total: int) -> Savings:
    """Return the sum of what stopping each trial saved; `total` is the number of trials of the sweep."""
    known = list(parts)
    return Savings(
        trials=sum(one.trials for one in known),
        total=total,
        steps=sum(one.steps for one in known),
        seconds=sum(one.seconds for one in known),
        audited=sum(one.audited for one in known),
        audit_steps=sum(one.audit_steps for one in known),
    )


def own_savings(trial: TrialRecord) -> Savings | None:
    """Return what stopping one trial saved, or its audit cost; None if it was neither stopped by a rule nor audited."""
    continued = trial.continued
    audited = continued is not None and continued.cause == AUDITED
    stopped = trial.state is State.PRUNED and not trial.newest.stopped_by_person
    stopped = stopped and trial.progress.total_steps is not None
    if not stopped and not audited:
        return None
    saved, speed = steps_saved(trial) if stopped else 0, steps_per_second(trial)
    return Savings(
        trials=int(stopped),
        total=1,
        steps=saved,
        seconds=saved / speed if math.isfinite(speed) else 0.0,
        audited=int(audited),
        audit_steps=steps_after_decision(trial) if audited else 0,
    )


def steps_saved(trial: TrialRecord) -> int:
    """Return the planned steps that a trial stopped early did not take; 0 if that is unknown."""
    if trial.state is not State.PRUNED or trial.progress.total_steps is None:
        return 0
    return max(0, trial.progress.total_steps - steps_done(trial))


def steps_after_decision(trial: TrialRecord) -> int:
    """Return the steps that a trial took after a rule flagged it and it was continued; 0 if that did not happen."""
    continued = trial.continued
    return max(0, trial.progress.step - continued.decision.step) if continued is not None else 0


def _expected_steps(trials: Sequence[TrialRecord]) -> float:
    ended = [steps_done(trial) for trial in trials if trial.state.ended and trial.step >= 0]
    known = ended or [trial.progress.total_steps for trial in trials if trial.progress.total_steps]
    return sum(known) / len(known) if known else math.nan


def _steps_left(trial: TrialRecord, expected: float) -> float:
    total = trial.progress.total_steps
    return max(0.0, (expected if total is None else total) - steps_done(trial))


def params_of(trial: TrialRecord) -> str:
    """Return the varied parameters on one line; of a derived trial, also its parent and the step: ``from=0003+119``."""
    parts = [f"{name}={spelled(value)}" for name, value in redacted_values(trial.facts.shown).items()]
    return plain(", ".join([*parts, *([f"from={origin}"] if (origin := origin_of(trial)) else [])]))


def origin_of(trial: TrialRecord) -> str:
    """Return the parent of a derived trial and the step after which it continues; empty for other trials."""
    return "" if trial.facts.derived is None else trial.facts.derived.origin
