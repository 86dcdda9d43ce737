"""Find running trials without a process: it is gone, but the record does not say how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.executors.executor import Executor
from sweeper.orchestrator.io.wakeup import LONGEST_SLEEP_S
from sweeper.orchestrator.pace import Pace
from sweeper.orchestrator.trials import Trials
from sweeper.record.trial import State, TrialRecord


@dataclass(slots=True)
class Liveness:
    """Checks which running attempts have no process left, at a limited pace.

    `dead` has the trial number and the attempt number of those that the last check found.
    """

    executor: Executor
    trials: Trials
    dead: AbstractSet[tuple[int, int]] = frozenset()
    _pace: Pace = field(default_factory=lambda: Pace(every_s=LONGEST_SLEEP_S))

    def check(self) -> None:
        """Check the running attempts if a check is due.

        If processes are gone, the records are read once more: an attempt may have ended since it was read.
        """
        if not self._pace.is_due():
            return
        with self._pace.measure():
            running = self.trials.in_state(State.RUNNING)
            dead = [trial for trial in running if not self.executor.is_alive(trial.attempt_dir)]
        if dead:
            self.trials.refresh()
        self.dead = {_attempt_of(trial) for trial in dead}

    def check_soon(self) -> None:
        """Make the next check due at once."""
        self._pace.make_due()

    def alive(self) -> Sequence[TrialRecord]:
        """Return the running trials that the last check did not find dead."""
        return [trial for trial in self.trials.in_state(State.RUNNING) if _attempt_of(trial) not in self.dead]


def _attempt_of(trial: TrialRecord) -> tuple[int, int]:
    return trial.facts.number, trial.newest.number
