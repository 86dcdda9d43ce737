"""The recorder of one attempt: it appends events, counts optimizer steps, and writes how the attempt ended.

Internal. Scripts use `sweeper.Trial`; the watch and the runner of functions use the recorder behind it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from sweeper.errors import Unwritable, UsageError
from sweeper.record.causes import Cause
from sweeper.record.derivation import Derivation
from sweeper.record.events import Event, Finished
from sweeper.record.facts import Facts
from sweeper.record.on_spike import OnSpike
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import TRIAL_DIR, AttemptDir, write_atomically
from sweeper.worker.ranks import is_first, rank_name
from sweeper.worker.spikes import Spikes
from sweeper.worker.watch.outbox import Outbox

if TYPE_CHECKING:
    from sweeper.worker.watch.watch import Watch

LONGEST_ERROR = 2000
"""Maximum number of characters of an exception's text in the record."""
ENDED = (
    "this trial has ended, so nothing more can be recorded: indent the code under `with sweeper.trial() as trial:`, "
    "or open the trial with `trial = sweeper.start()`, which ends when the process exits"
)


class Recorder:
    """Write the events of one attempt. Ranks other than the first write nothing.

    Attributes:
        facts: what the sweep decided about the trial: parameters, seed, metric, checkpoint interval.
        attempt: the directory of the attempt.
        outbox: values that an accelerator is still computing, each with the function that records it.
        spikes: the test of losses and gradient norms.
        watch: the trial's watch, once there is one; it is closed before the end is recorded.
        next_step: the next optimizer step, counted from 0.
        last_step: the highest step that was counted or reported; -1 before the first.
        reported: the names of the metrics that were reported.
        total_steps: the planned number of optimizer steps, if the script has declared it.
        stop_requested: set when this process was asked to stop.
        stopping: whether the script has been told to stop; all ranks agree on it.
        derivation: what an integration has yet to change in the state that its library restored; None if nothing.
    """

    def __init__(self, facts: Facts, attempt: AttemptDir, *, writes: bool | None = None) -> None:
        """Open the record.

        Args:
            facts: the facts of the trial.
            attempt: the directory of the attempt.
            writes: whether this process writes; by default, rank 0 does, as the environment has it.

        Raises:
            RecordError: the sweep's `on_spike` cannot be read.
        """
        self.facts = facts
        self.attempt = attempt
        self.outbox = Outbox()
        self.spikes = Spikes(OnSpike(facts.on_spike))
        self.watch: Watch | None = None
        self.next_step = 0
        self.last_step = -1
        self.reported: set[str] = set()
        self.total_steps: int | None = None
        self.stop_requested = threading.Event()
        self.stopping = False
        self.derivation: Derivation | None = None
        self._journal = JournalWriter(attempt.events) if (is_first() if writes is None else writes) else None
        self._closed = False

    @property
    def writes(self) -> bool:
        """Whether this rank writes the record."""
        return self._journal is not None

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Append an event; see `extend`."""
        self.extend([event], sync=sync)

    def extend(self, events: Sequence[Event], *, sync: bool = False) -> None:
        """Append events at once, with the current time, if this rank writes the record.

        Raises:
            UsageError: the trial has ended.
            Unwritable: the record cannot be written.
        """
        if self._closed:
            raise UsageError(ENDED)
        if self._journal is not None:
            now = time.time()
            with_spikes = [*events, *self.spikes.among(events)]
            self._journal.extend([replace(event, time=now) for event in with_spikes], sync=sync)

    def stepped(self) -> None:
        """Count an optimizer step."""
        self.next_step += 1
        self.last_step = max(self.last_step, self.next_step - 1)

    @property
    def steps_done(self) -> int:
        """The number of optimizer steps that were done, as the watch or the script counts them."""
        return max(self.next_step, self.last_step + 1)

    @property
    def is_turn_over(self) -> bool:
        """Whether the trial has done the steps of its turn in a population (`until`)."""
        return 0 < self.facts.until <= self.steps_done

    def should_stop(self) -> bool:
        """Return whether this process was asked to stop, or the trial's turn is over."""
        return self.is_turn_over or self.stop_requested.is_set()

    def request_stop(self, *_: int | FrameType | None) -> None:
        """Ask the training loop to end after the current step. Can be used as a signal handler."""
        self.stop_requested.set()

    def leave_to_parent(self) -> None:
        """In a forked child: record nothing, and let SIGTERM end the process, as in a child of any script."""
        self._journal = None
        if self.watch is not None:
            self.watch.abandon()
        with suppress(ValueError):  # outside the main thread
            if getattr(signal.getsignal(signal.SIGTERM), "__self__", None) is self:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def finish(self, error: BaseException | None) -> None:
        """Record how the script ended, and close the record.

        Args:
            error: the exception that ended the script, or None.

        Raises:
            Unwritable: the record cannot be written. Not raised when there is an `error`, which matters more.
        """
        try:
            self._flush()
        except Exception:
            if error is None:  # otherwise a failed device, or a full disk, is not to hide why the script ended
                raise
        try:
            self.append(self._ending(error), sync=True)
        except Unwritable:
            if error is None:
                raise
        self._close()
        if self.writes or error is None:
            return
        if TRIAL_DIR in os.environ:  # without a sweep, only rank 0 knows the directory
            with suppress(Unwritable):
                event = replace(self._ending(error), time=time.time())
                write_atomically(self.attempt.last_word(rank_name()), encode_file(event))

    def leave(self) -> None:
        """Close the record without an end, in a process that another one waits for.

        Raises:
            Unwritable: the record cannot be written.
        """
        self._flush()
        self._close()

    def _flush(self) -> None:
        if self.watch is not None:
            self.watch.close()
        self.outbox.flush()
        if rest := self.spikes.rest():
            self.extend(rest)

    def _close(self) -> None:
        self._closed = True
        if self._journal is not None:
            self._journal.close()

    def _ending(self, error: BaseException | None) -> Finished:
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code:
            # Hydra, click and others print the exception of the script, and exit with a code while they handle it.
            error = error.__context__ or error
        if isinstance(error, KeyboardInterrupt):
            return Finished(outcome="stopped")
        if error is not None and not (isinstance(error, SystemExit) and error.code in (None, 0)):
            cause = Cause.CUDA_OOM if _is_out_of_device_memory(error) else ""
            text = f"{type(error).__name__}: {error}"[:LONGEST_ERROR]
            return Finished(outcome="failed", error=text, cause=cause, peak_device_mb=_peak_device_mb())
        did_all_steps = self.total_steps is not None and self.last_step + 1 >= self.total_steps
        did_all_steps = did_all_steps or self.is_turn_over
        outcome = "stopped" if self.stopping and not did_all_steps else "completed"
        return Finished(outcome=outcome, peak_device_mb=_peak_device_mb())


def _is_out_of_device_memory(error: BaseException) -> bool:
    """Return whether the error is torch's out-of-memory exception. Does not import torch."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "OutOfMemoryError", None) or getattr(getattr(torch, "cuda", None), "OutOfMemoryError", None)
    return isinstance(kind, type) and isinstance(error, kind)


def _peak_device_mb() -> float | None:
    """Return the peak memory that torch allocated on the current CUDA device, in MiB; None if CUDA is not in use."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    try:
        return float(round(cuda.max_memory_allocated() / 2**20, 1))
    except RuntimeError:  # a failed device answers nothing, and the end must still be recorded
        return None
