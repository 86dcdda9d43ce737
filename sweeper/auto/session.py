"""The automatic trial of a process: opened when there is something to record, by one process of an attempt.

The processes of an attempt decide their part by themselves:

- *writer*: the first process of rank 0 that trains or logs. It claims the attempt by creating a file, so there is one.
- *member*: a process of another rank. It takes part in sums over the shards of a model, and writes nothing.
- *silent*: any other process: a worker of a data loader, a child that also trains, a process forked by the writer.
"""

from __future__ import annotations

import atexit
import enum
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import RecordError, Unwritable, UsageError
from sweeper.record.events import Inferred
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir, TrialDir
from sweeper.worker import opening
from sweeper.worker.ranks import is_first
from sweeper.worker.recorder import Recorder
from sweeper.worker.trial import Trial, recorder_of

if TYPE_CHECKING:
    from sweeper.auto.training import Training

MOST_NAMES = 50
"""Maximum number of metrics of one function that are listed by name."""


class Part(enum.Enum):
    """The part of a process in an attempt."""

    UNDECIDED = enum.auto()
    WRITER = enum.auto()
    MEMBER = enum.auto()
    SILENT = enum.auto()


class Session:
    """What the automatic watch knows about this process and its trial.

    Attributes:
        part: the part of this process in the attempt.
        training: the watch of this process's optimizers, once torch is imported.
    """

    def __init__(self, directory: TrialDir, attempt: AttemptDir) -> None:
        self.part = Part.UNDECIDED
        self.training: Training | None = None
        self._on_hand_over: list[Callable[[], None]] = []
        self._on_end: list[Callable[[], None]] = []
        self._directory = directory
        self._attempt = attempt
        self._trial: Trial | None = None
        self._named: dict[str, set[str]] = {}
        self._found: dict[str, tuple[str, ...]] = {}
        self._failed: set[str] = set()
        os.register_at_fork(after_in_child=self._leave_to_parent)
        opening.on_explicit_open(self.hand_over)

    @property
    def trial(self) -> Trial | None:
        """The trial, opened at the first use; None where this process is silent."""
        if self.part is Part.UNDECIDED:
            self._open()
        return self._trial

    @property
    def recorder(self) -> Recorder | None:
        """The recorder of the trial; None where this process is silent."""
        trial = self.trial
        return None if trial is None else recorder_of(trial)

    @property
    def is_silent(self) -> bool:
        """Whether this process records nothing, now or later."""
        return self.part is Part.SILENT

    def note(self, text: str) -> None:
        """Record a remark."""
        if (trial := self.trial) is not None:
            with suppress(Unwritable, UsageError):  # the disk is full, or the trial has ended
                trial.note(f"watch: auto: {text}")

    def infer(self, kind: str, names: Sequence[str]) -> None:
        """Record what was found in the script, unless it was found before; see `Inferred`."""
        if tuple(names) == self._found.get(kind):
            return
        self._found[kind] = tuple(names)
        if names and (recorder := self.recorder) is not None:
            recorder.append(Inferred(kind=kind, names=tuple(names)))

    def guarded(self, what: str, action: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the automatic watch. An error in it is noted once, and the script goes on."""
        try:
            return action(*args)
        except Unwritable:  # a record that cannot be written must not go unnoticed
            raise
        except Exception as error:  # noqa: BLE001 - the script knows nothing of sweeper, and must not fail because of it
            self.note_failure(what, error)
            return None

    def note_failure(self, what: str, error: Exception) -> None:
        """Note that a part of the watch failed, once for each part."""
        if what not in self._failed:
            self._failed.add(what)
            self.note(f"{what} failed, so it is missing: {type(error).__name__}: {error}")

    def log(self, source: str, values: Mapping[str, object], step: int | None = None) -> None:
        """Record metrics that the script logged with a library, at the current optimizer step.

        Args:
            source: the function that the script called, such as `wandb.log`.
            values: the values by name.
            step: the script's own counter, which counts where no optimizer is used.
        """
        if self.is_silent or not values or (trial := self.trial) is None:
            return
        recorder = recorder_of(trial)
        for flush in self._on_end:  # so that steps are in order
            flush()
        if self.training is None or not self.training.counts_steps:
            at = step if isinstance(step, int) and step >= 0 else recorder.last_step + 1
        else:
            at = max(0, recorder.next_step - 1)
        trial.report(dict(values), step=at)  # type: ignore[arg-type]  # numbers and 0-d tensors; see `loggers`
        self._name(source, values)

    def _name(self, source: str, names: Mapping[str, object]) -> None:
        """Record the names that a library reported, once each."""
        known = self._named.setdefault(source, set())
        fresh = [name for name in names if name not in known]
        if fresh and len(known) < MOST_NAMES:
            known.update(fresh)
            self.infer(source, fresh[:MOST_NAMES])

    def on_hand_over(self, close: Callable[[], None]) -> None:
        """Call a function before the script itself opens a trial."""
        self._on_hand_over.append(close)

    def on_end(self, flush: Callable[[], None]) -> None:
        """Call a function before the trial ends, and before metrics of the script are recorded."""
        self._on_end.append(flush)

    def on_exit(self, last: Callable[[], None]) -> None:
        """Call a function when the process exits, before the trial ends, also if no trial is open yet."""
        atexit.register(self._call_at_exit, os.getpid(), last)

    def _call_at_exit(self, pid: int, last: Callable[[], None]) -> None:
        is_bystander = self.part is Part.UNDECIDED and _is_child()  # such as a worker that imports the script
        if os.getpid() == pid and not self.is_silent and not is_bystander:
            self.guarded("the last note", last)

    def hand_over(self) -> None:
        """Leave the trial to the script, which uses sweeper itself."""
        for close in self._on_hand_over:
            close()
        self._silence()

    def _leave_to_parent(self) -> None:
        """In a forked child, leave the record to the parent, if that records something or is about to."""
        if self.part is Part.UNDECIDED and (self.training is None or self.training.is_idle):
            return
        if self._trial is not None:
            recorder_of(self._trial).leave_to_parent()
        self._silence()

    def _open(self) -> None:
        rank = _rank()
        if rank == 0 and not self._claim():
            self.part = Part.SILENT
            return
        self.part = Part.WRITER if rank == 0 else Part.MEMBER
        try:
            self._trial = opening.open_implicitly(self._directory, self._attempt, writes=rank == 0)
        except RecordError as error:  # there is no record to note it in
            sys.stderr.write(f"sweeper: this process is not watched: {error}\n")
            self.part = Part.SILENT
            return
        atexit.register(self._end)  # runs before the end of the trial, which was registered before
        if _is_child():  # one that was forked ends without exit handlers
            from multiprocessing import util

            util.Finalize(None, self._end, exitpriority=0)

    def _end(self) -> None:
        if self._trial is not None:
            for flush in self._on_end:
                self.guarded("the last values", flush)

    def _claim(self) -> bool:
        """Whether this process is the one that writes the record of the attempt."""
        try:
            descriptor = confined.open_file(self._attempt.watched_by, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            self._say_if_left_over()
            return False
        except OSError as error:
            sys.stderr.write(f"sweeper: this process is not watched: {self._attempt.watched_by}: {error.strerror}\n")
            return False
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")
        return True

    def _say_if_left_over(self) -> None:
        """Say so if the process that has claimed the attempt is gone: nothing more of the attempt is recorded."""
        with suppress(OSError, ValueError):
            pid = int(confined.read_bytes(self._attempt.watched_by))
            if not Path(f"/proc/{pid}").exists():
                why = f"one process of an attempt is, and that was process {pid}, which has ended"
                sys.stderr.write(f"sweeper: this process is not watched: {why}\n")

    def _silence(self) -> None:
        """Record nothing from now on."""
        self.part = Part.SILENT
        self._trial = None
        self._on_hand_over.clear()
        self._on_end.clear()


def _is_child() -> bool:
    """Return whether `multiprocessing` started this process. Does not import it."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _rank() -> int:
    """Return the rank of this process: that of the process group if there is one, else that of its environment."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return 0 if is_first() else 1
