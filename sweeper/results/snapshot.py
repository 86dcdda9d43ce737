"""A sweep at one moment, and the numbers that are derived from it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper.record.events import AUDITED
from sweeper.record.fold import State
from sweeper.record.trial import Trial, spelled
from sweeper.results.wording import counted, duration, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """What the live table, the status and the ranking are made from.

    `total` is how many trials are planned, None where the search has no end of its own. `now` and `started` are
    seconds since the epoch. `messages` are the newest lines for a person, oldest first.
    `unreadable` says of each trial whose record cannot be read why, and what stands in its place.
    `unstarted` says that the budget is spent and how many trials were not started, empty otherwise. `unmet` says of the
    rules and of the metric that no trial records what they read (`rules.needs`).
    """

    name: str
    state: str
    trials: Sequence[Trial]
    total: int | None
    slots: Sequence[str]
    now: float
    started: float
    messages: Sequence[str] = ()
    unreadable: Sequence[str] = ()
    unstarted: str = ""
    unmet: Sequence[str] = ()

    @property
    def metric(self) -> str:
        """The metric of the sweep, empty before the first trial."""
        return self.trials[0].facts.metric if self.trials else ""

    def count(self, *states: State) -> int:
        """How many trials are in one of the states."""
        return sum(trial.state in states for trial in self.trials)

    @property
    def slots_in_use(self) -> int:
        """How many slots run a trial."""
        return self.count(State.RUNNING)

    @property
    def seconds_left(self) -> float:
        """An estimate; NaN before anything is known.

        Steps left over the steps a second of all that runs; a trial that has not begun is taken to last as many steps
        as the trials that have ended did, pruned ones included.
        """
        running = [trial for trial in self.trials if trial.state is State.RUNNING]
        rates = [rate for trial in running if math.isfinite(rate := steps_per_second(trial))]
        expected = _expected_steps(self.trials) if rates else math.nan
        if not math.isfinite(expected):
            return math.nan
        waiting = max(self.total or 0, len(self.trials)) - len(running) - self.count(State.PAUSED, *_ENDED)
        left = waiting * expected + sum(_steps_left(trial, expected) for trial in running)
        rate = sum(rates) / len(rates) * max(1, min(len(self.slots) or 1, len(running) + waiting))
        return left / rate


class Show(Protocol):
    """Whoever shows a sweep to a person; what it may be told to do is no business of most."""

    def update(self, sweep: SweepView) -> None:
        """The sweep as it is now."""

    def filenos(self) -> Sequence[int]:
        """What can be slept on until the person does something."""
        return ()

    def pressed(self) -> bool:
        """Take in what the person did; whether it is to be answered at once."""
        return False


_ENDED = tuple(state for state in State if state.ended)


def steps_done(trial: Trial) -> int:
    """Optimizer steps that stand."""
    return trial.step + 1


def steps_per_second(trial: Trial) -> float:
    """Speed of the newest attempt that stepped; NaN before its second step."""
    progress = trial.progress
    seconds = progress.latest - progress.started
    steps = progress.step - progress.first_step
    return steps / seconds if progress.first_step >= 0 and steps > 0 and seconds > 0 else math.nan


def seconds_left(trial: Trial) -> float:
    """Until the trial's last planned step, at its present speed; NaN where it does not run or has no plan."""
    total = trial.progress.total_steps
    if trial.state is not State.RUNNING or total is None:
        return math.nan
    return max(0, total - steps_done(trial)) / steps_per_second(trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """What pruning spared: steps of the plan that were not taken, and the seconds they would have cost.

    Without what audits took of it: `audited` trials were condemned and let run on, for `audit_steps` after the verdict.
    """

    trials: int
    of: int
    steps: int
    seconds: float
    audited: int = 0
    audit_steps: int = 0

    def text(self) -> str:
        """In one sentence without its full stop; empty where nobody was condemned."""
        parts = []
        if self.trials:
            pruned = f"pruning {self.trials} of {self.of} trials"
            parts.append(f"{pruned} saved {self.steps} steps, about {duration(self.seconds)} of one slot")
        if self.audited:
            which = counted(self.audited, "condemned trial was", "condemned trials were")
            net = ", which is counted as not saved" if self.trials else ""
            parts.append(f"{which} let run on by the audit for {self.audit_steps} steps{net}")
        return "; ".join(parts)


def savings_of(sweep: SweepView) -> Savings:
    """Summed over the trials that a rule pruned and whose plan is known, each at its own seconds per step."""
    pruned = [t for t in sweep.trials if t.state is State.PRUNED and not t.control.ended_by_person]
    known = [trial for trial in pruned if trial.progress.total_steps is not None]
    steps = [steps_spared(trial) for trial in known]
    seconds = (
        saved * trial.seconds(sweep.now) / steps_done(trial)
        for trial, saved in zip(known, steps, strict=True)
        if steps_done(trial) > 0
    )
    after = [steps_after(t) for t in sweep.trials if t.control.spared and t.control.spared.spared == AUDITED]
    return Savings(
        trials=len(known),
        of=len(sweep.trials),
        steps=sum(steps),
        seconds=sum(seconds),
        audited=len(after),
        audit_steps=sum(after),
    )


def steps_spared(trial: Trial) -> int:
    """Steps of its plan that a pruned trial did not take; 0 where that is not known."""
    if trial.state is not State.PRUNED or trial.progress.total_steps is None:
        return 0
    return max(0, trial.progress.total_steps - steps_done(trial))


def steps_after(trial: Trial) -> int:
    """Steps that a trial took after it was condemned and let run on; 0 where it was not."""
    spared = trial.control.spared
    step = spared.decision.get("step") if spared is not None else None
    return max(0, trial.progress.step - step) if isinstance(step, int) else 0


def _expected_steps(trials: Sequence[Trial]) -> float:
    ended = [steps_done(trial) for trial in trials if trial.state.ended and trial.step >= 0]
    known = ended or [trial.progress.total_steps for trial in trials if trial.progress.total_steps]
    return sum(known) / len(known) if known else math.nan


def _steps_left(trial: Trial, expected: float) -> float:
    total = trial.progress.total_steps
    return max(0.0, (expected if total is None else total) - steps_done(trial))


def params_of(trial: Trial) -> str:
    """The varied parameters on one line."""
    return plain(", ".join(f"{name}={spelled(value)}" for name, value in trial.facts.shown.items()))
