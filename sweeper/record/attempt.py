"""One start of a trial as a value, and the cause of its end."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sweeper.record.causes import Cause, signal_of_code
from sweeper.record.events import (
    PRUNED,
    Abandoned,
    Continued,
    Exit,
    Finished,
    KillSent,
    Launched,
    Lost,
    Measured,
    NotRepaired,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the record has about one start of a trial; None where an event is missing.

    The orchestrator wrote `launched`, `stop`, `continued`, `abandoned`, `killed`, `lost`, `retry_granted`, `revived`,
    `measured` and `not_repaired`; the training script `started` and `finished`; the shim `exit`. `saved` is true once
    the script has saved a checkpoint that no later attempt has superseded, `collected` once metrics were read from what
    it wrote.

    Number 0 stands for the time before the first launch: a person may stop or revive a trial that never ran.
    """

    number: int
    launched: Launched | None = None
    stop: StopRequested | None = None
    continued: Continued | None = None
    abandoned: Abandoned | None = None
    killed: KillSent | None = None
    lost: Lost | None = None
    retry_granted: RetryGranted | None = None
    revived: Revived | None = None
    measured: Measured | None = None
    not_repaired: NotRepaired | None = None
    started: Started | None = None
    saved: bool = False
    collected: bool = False
    finished: Finished | None = None
    exit: Exit | None = None

    @property
    def slot(self) -> str:
        """The name of the slot that the attempt was launched on; empty for number 0."""
        return self.launched.slot if self.launched else ""

    @property
    def launch_time(self) -> float:
        """When the attempt was launched, in seconds since the epoch; NaN for number 0."""
        return self.launched.time if self.launched else math.nan

    @property
    def gpus(self) -> float:
        """The number of GPUs of the attempt's slot, below 1 for a share of one.

        Records of early versions have the number only in the name of the slot: ``gpu 0+1``, ``cpu 3``.
        """
        if self.launched is not None and self.launched.gpus is not None:
            return self.launched.gpus
        return self.slot.count("+") + 1 if self.slot.startswith("gpu ") else 0

    @property
    def end(self) -> Exit | Lost | None:
        """The event that ended the attempt, None while it runs."""
        return self.exit or self.lost

    def seconds(self, now: float) -> float:
        """Return the wall time from the launch to the end, or to `now` where the attempt has not ended."""
        if self.launched is None:
            return 0.0
        return max(0.0, (self.end.time if self.end else now) - self.launched.time)

    @property
    def outcome(self) -> str:
        """How the script ended: ``completed``, ``stopped`` or ``failed``, as it reported; empty if it did not.

        It is ``failed`` where the exit code contradicts the script's report that it completed.
        """
        reported = self.finished.outcome if self.finished else ""
        return "failed" if reported == "completed" and self.failed_after_completion else reported

    @property
    def failed_after_completion(self) -> bool:
        """Whether the script reported that it completed, and its process then exited with a code that says otherwise.

        A signal takes nothing from a script that has completed: the machine or sweeper may have sent it, and many
        programs crash while they release their libraries. Nor does an exit code after a stop was asked for.
        """
        if self.finished is None or self.exit is None or self._asked:
            return False
        return self.finished.outcome == "completed" and self._exited_by_itself and self.exit.code != 0

    @property
    def obeyed(self) -> bool:
        """Whether the attempt was asked to stop, and its script ended without a report, by SIGTERM or an exit code."""
        if not self._asked or self.killed is not None or self.exit is None or self.outcome:
            return False
        by = self.exit.signal or signal_of_code(self.exit.code)
        return by == signal.SIGTERM or (self._exited_by_itself and self.exit.cause in ("", Cause.ERROR))

    @property
    def _asked(self) -> bool:
        """Whether a stop was asked for: by sweeper, or by a signal from outside to the process that supervises it."""
        return self.stop is not None or (self.exit is not None and self.exit.asked)

    @property
    def _exited_by_itself(self) -> bool:
        """Whether the process ended with an exit code that does not stand for a signal."""
        if self.exit is None or self.exit.code is None:  # neither code nor signal is known if `exit.json` is damaged
            return False
        return self.exit.signal is None and signal_of_code(self.exit.code) is None

    @property
    def error(self) -> str:
        """The exception that the script reported; empty if there was none."""
        return self.finished.error if self.finished else ""

    @property
    def flagged(self) -> bool:
        """Whether a decision was to stop the trial in this attempt, and no person has revived the trial since."""
        return self.stop is not None and self.stop.cause == PRUNED and self.revived is None

    @property
    def stopped_by_person(self) -> bool:
        """Whether the decision that stopped the attempt was a person's."""
        return self.flagged and self.stop is not None and self.stop.by_person

    @property
    def cause(self) -> str:
        """Why the attempt ended (`Cause`), by the table `CAUSES`; empty while it runs and where it ended well."""
        return next(row.cause(self) for row in CAUSES if row.holds(self))

    @property
    def preempted(self) -> bool:
        """Whether something outside the sweep, such as a scheduler, stopped the attempt after it saved a checkpoint.

        Each such attempt got further than the one before, so their number is not limited.
        """
        return self.saved and self.cause == Cause.STOPPED

    @property
    def crowded_out(self) -> bool:
        """Whether a device that the attempt shared had no memory left for it."""
        shared = self.launched is not None and self.launched.gpus is not None and 0 < self.launched.gpus < 1
        return shared and self.cause == Cause.CUDA_OOM


class CauseRow(NamedTuple):
    """A row of the table of causes: a condition in words and as a predicate, the cause in words and as a function."""

    when: str
    holds: Callable[[Attempt], bool]
    then: str
    cause: Callable[[Attempt], str]


CAUSES = (
    CauseRow(
        "the attempt is running, or its script completed and no exit code of its own contradicts that",
        lambda attempt: attempt.end is None or attempt.outcome == "completed",
        "none",
        lambda _: "",  # only an exit code takes something from a script that has completed
    ),
    CauseRow(
        "the orchestrator abandoned the attempt",
        lambda attempt: attempt.abandoned is not None,
        "the recorded cause: `hung`, `lost` where its device is lost, or `not-found` where its command is too long",
        lambda attempt: attempt.abandoned.cause if attempt.abandoned else "",
    ),
    CauseRow(
        "there is no exit",
        lambda attempt: attempt.exit is None,
        "`lost`",
        lambda _: Cause.LOST,
    ),
    CauseRow(
        "a device of any rank ran out of memory",
        lambda attempt: attempt.exit is not None and attempt.exit.cause == Cause.CUDA_OOM,
        "`cuda-oom`",
        lambda _: Cause.CUDA_OOM,  # whatever the first rank reported about the end of another
    ),
    CauseRow(
        "its script reported that it was stopped",
        lambda attempt: attempt.outcome == "stopped",
        "`stopped`",
        lambda _: Cause.STOPPED,
    ),
    CauseRow(
        "its script reported that it failed, or exited with another code than 0 after it had completed",
        lambda attempt: attempt.outcome == "failed",
        "`cuda-oom` or `error`",
        lambda attempt: (attempt.finished.cause if attempt.finished else "") or Cause.ERROR,
    ),
    CauseRow(
        "it was asked to stop, by sweeper or from outside, and ended by SIGTERM or an exit code, without a report",
        lambda attempt: attempt.obeyed,
        "`stopped`",
        lambda _: Cause.STOPPED,
    ),
    CauseRow(
        "anything else",
        lambda _: True,
        "what the shim recorded: `killed`, `oom`, `not-found`, `error`, or none after exit code 0",
        lambda attempt: attempt.exit.cause if attempt.exit else "",
    ),
)
"""Why an attempt ended: the first row with a condition that holds."""
