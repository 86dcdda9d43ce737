"""Notice that trials wait although slots are free by the sweep's own count, and report what they wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sweeper.executors.executor import Blocker, Executor
from sweeper.record.events import SweepWaiting
from sweeper.record.trial import TrialRecord
from sweeper.results.wording import waiting_text

RECORD_AFTER_S = 10.0
"""A wait is recorded after this time, and so is a change of what is waited for; shorter waits are normal."""
IDLE_AFTER_S = 60.0
"""If nothing runs for this long, the user is told why."""
REPEAT_S = 300.0
"""The user is told again after this time."""
UNKNOWN = "no reason is known, so this is a defect of sweeper; interrupt it and call `sweeper run` again"


class WaitMonitor:
    """Watches for trials that wait although slots are free.

    Args:
        executor: says what the reservations of slots wait for.
        say: prints a message to the user.
        log: appends to the log of the sweep.
        clock: returns monotonic seconds.
        wall: returns seconds since the epoch.

    Attributes:
        recorded: the wait that is on the record; None if trials do not wait.
    """

    def __init__(
        self,
        executor: Executor,
        say: Callable[[str], None],
        log: Callable[[SweepWaiting], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.recorded: SweepWaiting | None = None
        self._executor, self._say, self._log = executor, say, log
        self._clock, self._wall = clock, wall
        self._since: float | None = None
        self._recorded_at = 0.0
        self._said_at: float | None = None

    def update(self, waiting: Sequence[TrialRecord], *, free: int, running: int, ended: Mapping[int, float]) -> None:
        """Take in the situation after a tick; record and report a wait that lasts.

        Args:
            waiting: the trials that wait, should run, and are covered by the budget.
            free: the number of free slots.
            running: the number of running trials.
            ended: when the last attempts of trials ended, by trial, in monotonic seconds.
        """
        now = self._clock()
        blockers = self._blockers(waiting, running, ended, now) if waiting and free else ()
        if not blockers:
            self._stop_waiting()
            return
        self._since = now if self._since is None else self._since
        wait = SweepWaiting(
            since=self._wall() - (now - self._since),
            reasons=tuple(blocker.text for blocker in blockers),
            sweeps=tuple(dict.fromkeys(blocker.sweep for blocker in blockers if blocker.sweep)),
        )
        self._record(wait, now)
        if self._is_due(now, running):
            self._said_at = now
            self._say(waiting_text(wait, self._wall()))

    def _blockers(
        self, waiting: Sequence[TrialRecord], running: int, ended: Mapping[int, float], now: float
    ) -> Sequence[Blocker]:
        if found := self._executor.waits_for():
            return found
        if running:
            return ()
        pauses = [
            Blocker(text=f"the retry of trial {trial.number:04d} is due at {_time(self._wall() + left)}")
            for trial in waiting
            if (left := ended.get(trial.number, now - trial.backoff_s) + trial.backoff_s - now) > 0
        ]
        return pauses or [Blocker(text=UNKNOWN)]

    def _record(self, wait: SweepWaiting, now: float) -> None:
        if self._since is None or now - self._since < (IDLE_AFTER_S if _is_unknown(wait) else RECORD_AFTER_S):
            return
        if self.recorded is None:
            is_new = True
        else:
            is_new = self.recorded.reasons != wait.reasons and now - self._recorded_at >= RECORD_AFTER_S
        if is_new:
            self.recorded, self._recorded_at = wait, now
            self._log(wait)

    def _is_due(self, now: float, running: int) -> bool:
        """Return whether the user is to be told: after a minute without a running trial, then every few minutes."""
        if self._said_at is not None:
            return now - self._said_at >= REPEAT_S
        return self._since is not None and now - self._since >= (REPEAT_S if running else IDLE_AFTER_S)

    def _stop_waiting(self) -> None:
        if self.recorded is not None:
            self._log(SweepWaiting(since=self.recorded.since, reasons=()))
        self.recorded = self._since = self._said_at = None


def _is_unknown(wait: SweepWaiting) -> bool:
    return wait.reasons == (UNKNOWN,)


def _time(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
