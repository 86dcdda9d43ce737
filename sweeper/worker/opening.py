"""The open trial of this process: how it is opened, found again, and ended.

A process has at most one open trial, whichever thread or library opened it. `sweeper.trial()`, `sweeper.start()` and
the callbacks open it for the script. sweeper itself may open it before the script does (`open_implicitly`); the script
then takes it over.

The end of every open trial is recorded at the latest when the process exits.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ContextDecorator, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from sweeper.errors import Unwritable, UsageError
from sweeper.record.events import Started
from sweeper.record.facts import Facts
from sweeper.record.storage.claim import catches
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.worker import inherited
from sweeper.worker.exits import ExitWatch, exit_code_of
from sweeper.worker.ranks import is_first
from sweeper.worker.recorder import Recorder
from sweeper.worker.trial import Trial

STDERR = 2
"""The file descriptor. `sys.stderr` may have been replaced by an object without one."""


def trial(defaults: Mapping[str, object] | None = None) -> TrialContext:
    """Open the trial of this process for a `with` block.

    Under `sweeper run` it is the trial that the process was started for. A script that is started by itself gets a new
    trial under `runs/`. Inside an open trial, as in a function that sweeper calls as a trainer, it is the open one.

    While it is open, SIGTERM makes `should_stop` true, and SIGUSR1 prints the stacks of all threads to standard error.
    The previous signal handlers are restored afterwards.

    Args:
        defaults: values of parameters that the sweep does not set.

    Returns:
        A context manager for the trial. The end of the trial is recorded when the block is left: `completed`,
        `stopped`, or `failed` with the exception. If the block is never left, it is recorded when the process exits.

    Raises:
        Unwritable: the record cannot be written.
        RecordError: the directory that the sweep made for the trial cannot be read.

    Example:
        ::

            with sweeper.trial(defaults={"lr": 3e-5}) as trial:
                trial.report({"loss/train": train(lr=trial.params["lr"])}, step=0)
    """
    return TrialContext(defaults or {})


def start(defaults: Mapping[str, object] | None = None) -> Trial:
    """Open the trial of this process until the process exits, for scripts that have no block to indent.

    It is the same trial as that of `sweeper.trial()`, and the open one if there is one. Its end is recorded when the
    process exits: `completed`, `stopped`, or `failed` with the exception that nothing caught. A forked child that exits
    does not end the trial.

    Without a sweep, the exit code of `raise SystemExit(3)` is not visible; use `sys.exit(3)`.

    Args:
        defaults: values of parameters that the sweep does not set.

    Returns:
        The open trial. `Trial.finish` ends it before the process exits.

    Raises:
        Unwritable: the record cannot be written.
        RecordError: the directory that the sweep made for the trial cannot be read.

    Example:
        ::

            trial = sweeper.start(defaults={"lr": 3e-5})
            for step in range(1000):
                trial.report({"loss/train": train_one_step(lr=trial.params["lr"])}, step=step)
                if trial.should_stop:
                    break
    """
    return _open_explicitly(defaults or {})[0].trial


def current() -> Trial | None:
    """Return the open trial of this process, or None."""
    return None if Opening.current is None else Opening.current.trial


def finish(trial: Trial) -> None:
    """End this trial, unless it has ended.

    Raises:
        Unwritable: the record cannot be written.
    """
    if (opened := Opening.current) is not None and opened.trial is trial:
        opened.close(None)


def open_implicitly(directory: TrialDir, attempt: AttemptDir, *, writes: bool) -> Trial:
    """Return the open trial, opened now if there is none, for sweeper itself. An explicit opening takes it over.

    SIGTERM is not handled before that, because a script that only logs would never stop.

    Args:
        directory: the directory of the trial.
        attempt: the directory of the attempt.
        writes: whether this process writes the record.

    Raises:
        Unwritable: the record cannot be written.
        RecordError: the directory that the sweep made for the trial cannot be read.
    """
    return (Opening.current or Opening({}, explicit=False, writes=writes, at=(directory, attempt))).trial


def on_explicit_open(callback: Callable[[], None]) -> None:
    """Call a function each time before the script itself opens a trial, also if one is open."""
    _CALLBACKS.append(callback)


_CALLBACKS: list[Callable[[], None]] = []


def _open_explicitly(defaults: Mapping[str, object]) -> tuple[Opening, bool]:
    """Return the open trial, opened now if there is none, and whether the script has only now opened it."""
    for callback in _CALLBACKS:
        callback()
    opened = Opening.current
    if opened is None:
        return Opening(defaults, explicit=True), True
    opened.trial.params = {**defaults, **opened.trial.params}
    is_first_call, opened.explicit = not opened.explicit, True
    opened.handle_stop()
    return opened, is_first_call


class Opening:
    """An open trial, with what has to be done at its end.

    Attributes:
        current: the open trial of this process, or None.
        trial: the trial.
        explicit: whether the script itself has opened it.
    """

    current: ClassVar[Opening | None] = None

    def __init__(
        self,
        defaults: Mapping[str, object],
        *,
        explicit: bool,
        writes: bool | None = None,
        at: tuple[TrialDir, AttemptDir] | None = None,
    ) -> None:
        self.explicit = explicit
        self._pid = os.getpid()
        self._is_inherited = (parents := inherited.attempt()) is not None
        directory, attempt, facts, self._record_exit = parents or _locate(defaults, at)
        self._recorder = Recorder(facts, attempt, writes=writes)
        self.trial = Trial(self._recorder, directory, defaults)
        if not self._is_inherited:
            started = Started(pid=self._pid, host=socket.gethostname(), attempt=attempt.number)
            self._recorder.append(started, sync=True)
        self._dumps_stacks = not catches(self._pid, signal.SIGUSR1)  # a handler of the script's own is kept
        if self._dumps_stacks:
            faulthandler.register(signal.SIGUSR1, file=STDERR, all_threads=True)
        self._handles_stop = False
        self._previous: Any = None
        if explicit:
            self.handle_stop()
        self._bequest = inherited.Bequest(directory, attempt)
        self._exits = ExitWatch(self._close_at_exit)
        Opening.current = self

    def handle_stop(self) -> None:
        """Let SIGTERM request a stop, in the main thread. A parent ends its children by SIGTERM, so it ends these."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not self._handles_stop and not self._is_inherited and in_main_thread:
            self._handles_stop = True
            self._previous = signal.signal(signal.SIGTERM, self._recorder.request_stop)

    def close(self, error: BaseException | None) -> None:
        """Record the end, once, and put back what opening has changed. In a forked child, do nothing.

        Args:
            error: the exception that ended the script, or None.

        Raises:
            Unwritable: the record cannot be written. Not raised when there is an `error`, which matters more.
        """
        if Opening.current is not self or os.getpid() != self._pid:
            return
        Opening.current = None
        try:
            self._record_end(error)
        finally:
            self._exits.close()
            self._bequest.withdraw()
            if self._handles_stop:
                signal.signal(signal.SIGTERM, self._previous)
            if self._dumps_stacks:
                faulthandler.unregister(signal.SIGUSR1)

    def _record_end(self, error: BaseException | None) -> None:
        if self._is_inherited:
            self._recorder.leave()
            return
        try:
            self._recorder.finish(error)
            self._record_exit(exit_code_of(error))
        except Exception as problem:
            if error is not None:
                return
            self._recorder.finish(problem)
            with suppress(Unwritable):
                self._record_exit(1)
            raise

    def _close_at_exit(self, error: BaseException | None) -> None:
        try:
            self.close(error)
        except Unwritable as problem:
            sys.stderr.write(f"{problem}\n")


class TrialContext(ContextDecorator):
    """The trial of this process as a context manager, returned by `sweeper.trial()`. The block receives the trial."""

    def __init__(self, defaults: Mapping[str, object]) -> None:
        self._defaults = defaults
        self._entered: list[Opening | None] = []

    def __enter__(self) -> Trial:
        opened, is_ours = _open_explicitly(self._defaults)
        self._entered.append(opened if is_ours else None)
        return opened.trial

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened = self._entered.pop()
        # A generator that is abandoned within the block says nothing about the training: how the process ends, does.
        if opened is not None and not isinstance(error, GeneratorExit):
            opened.close(error)

    if not TYPE_CHECKING:  # a type checker should report what is missing

        def __getattr__(self, name: str) -> object:
            if name in _PUBLIC:
                raise NotOpened(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def __setattr__(self, name: str, value: object) -> None:
            if name in _PUBLIC:
                raise NotOpened(name)
            super().__setattr__(name, value)


_PUBLIC = frozenset({"params", "seed", "dir"} | {name for name in vars(Trial) if not name.startswith("_")})
"""The names that a script uses on a trial."""


class NotOpened(UsageError, AttributeError):
    """A context manager was used as if it were its trial. An AttributeError too, so that `hasattr` works."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"trial.{name}: the trial is not open: write `with sweeper.trial() as trial:` around the code, "
            "or open it with `trial = sweeper.start()`"
        )


def _locate(
    defaults: Mapping[str, object], at: tuple[TrialDir, AttemptDir] | None
) -> tuple[TrialDir, AttemptDir, Facts, Callable[[int], None]]:
    """Return the directories and facts of this process's trial, and the function that records its exit code.

    The script may have changed the environment, so the directories are given where they were read before it began.
    """
    if at is None and TRIAL_DIR in os.environ:
        directory = TrialDir(Path(os.environ[TRIAL_DIR]))
        at = directory, directory.attempt(int(os.environ.get(ATTEMPT, "1")))
    if at is not None:
        return *at, Facts.read(at[0]), lambda _: None
    from sweeper.worker import standalone

    make = standalone.new_run if is_first() else standalone.run_of_other_rank
    return make(Path("runs"), script=Path(sys.argv[0]), params=defaults)
