"""Measure what the trials of a sweep use: its budget, and device memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweeper.record.budget import HOUR_S, BudgetLimits, Usage, gpu_seconds, wall_seconds
from sweeper.record.events import Event
from sweeper.record.trial import State, TrialRecord


def measured_peak_mb(trials: Iterable[TrialRecord]) -> float:
    """Return the highest device memory, in MiB, of attempts that had a device to themselves and ended with code 0.

    Returns 0 if there is no such attempt.
    """
    return max(
        (
            attempt.measured.device_peak_mb
            for trial in trials
            for attempt in trial.attempts
            if attempt.measured and attempt.exit and attempt.exit.code == 0
        ),
        default=0.0,
    )


@dataclass(slots=True)
class BudgetUsage:
    """How much of a budget is used: by earlier calls of `sweeper run`, by trials that do not run, and by those that do.

    `began` is the start of this call in seconds since the epoch, `reached` the trials that have reached the target.
    """

    budget: BudgetLimits
    began: float
    _earlier_s: float = 0.0
    _started: set[int] = field(default_factory=set)
    _not_running: dict[int, float] = field(default_factory=dict)
    _not_running_s: float = 0.0
    reached: set[int] = field(default_factory=set)

    def add_earlier_calls(self, log: Sequence[Event], trials: Sequence[TrialRecord]) -> None:
        """Take in the hours of earlier calls, from the log of the sweep, which ends with this call's start."""
        if self.budget.hours is not None:
            self._earlier_s = wall_seconds(log, trials, self.began)

    def update(self, changed: Iterable[TrialRecord]) -> None:
        """Take in the trials that have changed."""
        if self.budget == BudgetLimits():
            return
        for trial in changed:
            number = trial.facts.number
            if trial.attempts and trial.facts.is_searched:
                self._started.add(number)
            if self.budget.is_reached_by(trial):
                self.reached.add(number)
            else:
                self.reached.discard(number)
            self._not_running_s -= self._not_running.pop(number, 0.0)
            if trial.state is not State.RUNNING:
                self._not_running[number] = gpu_seconds([trial], 0.0)
                self._not_running_s += self._not_running[number]

    def total(self, running: Sequence[TrialRecord], now: float) -> Usage:
        """Return what is used at `now`, in seconds since the epoch."""
        if self.budget == BudgetLimits():
            return Usage()
        return Usage(
            trials=len(self._started),
            hours=(self._earlier_s + max(0.0, now - self.began)) / HOUR_S,
            gpu_hours=(self._not_running_s + gpu_seconds(running, now)) / HOUR_S,
            reached=bool(self.reached),
        )
