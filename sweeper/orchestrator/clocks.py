"""When this orchestrator saw or did what, by its own monotonic clock: nothing of it is on the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sweeper.record.fold import State
from sweeper.record.trial import Trial


@dataclass(slots=True)
class Clocks:
    """Seconds by trial number: when an attempt was asked to stop, for its stacks, and killed; when one ended.

    `given_up` are the trials whose attempt cannot be killed.
    """

    stopped: dict[int, float] = field(default_factory=dict)
    stacks: dict[int, float] = field(default_factory=dict)
    killed: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    _steps: dict[int, tuple[tuple[int, int], float]] = field(default_factory=dict)

    @property
    def steps(self) -> Mapping[int, float]:
        """When a running trial was launched, or was seen to make its newest step."""
        return {number: since for number, (_, since) in self._steps.items()}

    def launched(self, trial: Trial, now: float) -> None:
        """Take in that the trial's newest attempt was launched; it may have ended before anybody looks."""
        self._steps[trial.facts.number] = ((trial.control.attempt, trial.progress.step), now)
        self.ended.pop(trial.facts.number, None)

    def look(self, trials: Iterable[Trial], now: float) -> list[Trial]:
        """Take in how the trials stand; returns those whose attempt has ended since the last look."""
        ended = []
        for trial in trials:
            number, seen = trial.facts.number, (trial.control.attempt, trial.progress.step)
            if trial.state is State.RUNNING:
                if number not in self._steps or self._steps[number][0] != seen:
                    self._steps[number] = (seen, now)
            elif self._steps.pop(number, None) is not None:
                self.ended[number] = now
                for clock in (self.stopped, self.stacks, self.killed):
                    clock.pop(number, None)
                self.given_up.discard(number)
                ended.append(trial)
        return ended
