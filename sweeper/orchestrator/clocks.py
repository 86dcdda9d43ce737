"""Remember when this orchestrator saw or did what, by its monotonic clock; none of it is on the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sweeper.record.trial import State, TrialRecord


@dataclass(slots=True)
class Clocks:
    """Monotonic seconds by trial number.

    An attempt was asked to stop (`stopped`), was asked for its stacks (`stacks`), was killed (`killed`) or ended
    (`ended`). `unkillable` has the trials with an attempt that survived a kill.
    """

    stopped: dict[int, float] = field(default_factory=dict)
    stacks: dict[int, float] = field(default_factory=dict)
    killed: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    unkillable: set[int] = field(default_factory=set)
    _steps: dict[int, tuple[tuple[int, int], float]] = field(default_factory=dict)

    @property
    def steps(self) -> Mapping[int, float]:
        """When each running trial was launched or was seen to make its newest step."""
        return {number: since for number, (_, since) in self._steps.items()}

    def launched(self, trial: TrialRecord, now: float) -> None:
        """Take in that the trial's newest attempt was launched, however soon it ends."""
        self._steps[trial.facts.number] = ((trial.newest.number, trial.progress.step), now)
        self.ended.pop(trial.facts.number, None)

    def update(self, trials: Iterable[TrialRecord], now: float) -> list[TrialRecord]:
        """Take in the trials that have changed; return those with an attempt that ended since the last call."""
        ended = []
        for trial in trials:
            number, seen = trial.facts.number, (trial.newest.number, trial.progress.step)
            if trial.state is State.RUNNING:
                if number not in self._steps or self._steps[number][0] != seen:
                    self._steps[number] = (seen, now)
            elif self._steps.pop(number, None) is not None:
                self.ended[number] = now
                for clock in (self.stopped, self.stacks, self.killed):
                    clock.pop(number, None)
                self.unkillable.discard(number)
                ended.append(trial)
        return ended
