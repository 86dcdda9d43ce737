"""A sweep at one moment, and the numbers that are derived from it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.fold import State
from sweeper.record.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """What the live table, the status and the ranking are made from.

    `total` is how many trials are planned, None where the search has no end of its own. `now` and `started` are
    seconds since the epoch. `messages` are the newest lines for a person, oldest first.
    `unreadable` says of each trial whose record cannot be read why, and what stands in its place.
    `unstarted` says that the budget is spent and how many trials were not started, empty otherwise. `unmet` says of the
    rules and of the metric that no trial records what they read (`record.needs`).
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
        expected = _expected_steps(self.trials)
        if not rates or not math.isfinite(expected):
            return math.nan
        waiting = max(self.total or 0, len(self.trials)) - len(running) - self.count(*_ENDED)
        left = waiting * expected + sum(_steps_left(trial, expected) for trial in running)
        rate = sum(rates) / len(rates) * max(1, min(len(self.slots) or 1, len(running) + waiting))
        return left / rate


_ENDED = tuple(state for state in State if state.ended)


def steps_done(trial: Trial) -> int:
    """Optimizer steps that stand."""
    return trial.progress.step + 1


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
    """What pruning spared: steps of the plan that were not taken, and the seconds they would have cost."""

    trials: int
    steps: int
    seconds: float


def savings_of(sweep: SweepView) -> Savings:
    """Summed over the pruned trials whose plan is known, each at its own seconds per step."""
    known = [t for t in sweep.trials if t.state is State.PRUNED and t.progress.total_steps is not None]
    steps = [max(0, (trial.progress.total_steps or 0) - steps_done(trial)) for trial in known]
    seconds = (
        saved * trial.seconds(sweep.now) / steps_done(trial)
        for trial, saved in zip(known, steps, strict=True)
        if steps_done(trial) > 0
    )
    return Savings(trials=len(known), steps=sum(steps), seconds=sum(seconds))


def _expected_steps(trials: Sequence[Trial]) -> float:
    ended = [steps_done(trial) for trial in trials if trial.state.ended and trial.progress.step >= 0]
    planned = [trial.progress.total_steps for trial in trials if trial.progress.total_steps]
    known = ended or planned
    return sum(known) / len(known) if known else math.nan


def _steps_left(trial: Trial, expected: float) -> float:
    total = trial.progress.total_steps
    return max(0.0, (expected if total is None else total) - steps_done(trial))
