"""What the running call has spent of a sweep's budget; kept up as trials change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sweeper.record.budget import HOUR_S, Budget, Spending, gpu_seconds, wall_seconds
from sweeper.record.events import Event
from sweeper.record.fold import State
from sweeper.record.trial import Trial


@dataclass(slots=True)
class Purse:
    """A budget, and what has gone of it: in earlier calls, by trials that do not run, and by those that do."""

    budget: Budget
    began: float
    _earlier_s: float = 0.0
    _started: set[int] = field(default_factory=set)
    _at_rest: dict[int, float] = field(default_factory=dict)
    _at_rest_s: float = 0.0

    def open(self, log: Sequence[Event], trials: Sequence[Trial]) -> None:
        """Take in what earlier calls left: the log of the sweep, which ends with this call's start, and its trials."""
        if self.budget.hours is not None:
            self._earlier_s = wall_seconds(log, trials, self.began)

    def take(self, changed: Iterable[Trial]) -> None:
        """Take in how trials stand now."""
        if self.budget == Budget():
            return
        for trial in changed:
            number = trial.facts.number
            if trial.control.launched:
                self._started.add(number)
            self._at_rest_s -= self._at_rest.pop(number, 0.0)
            if trial.state is not State.RUNNING:
                self._at_rest[number] = gpu_seconds([trial], 0.0)
                self._at_rest_s += self._at_rest[number]

    def spending(self, running: Sequence[Trial], now: float) -> Spending:
        """What is spent now, in seconds since the epoch."""
        if self.budget == Budget():
            return Spending()
        return Spending(
            trials=len(self._started),
            hours=(self._earlier_s + max(0.0, now - self.began)) / HOUR_S,
            gpu_hours=(self._at_rest_s + gpu_seconds(running, now)) / HOUR_S,
        )
