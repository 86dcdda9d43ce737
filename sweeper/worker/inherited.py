"""Trials that a parent process has open: a child process adds to their record, and leaves the end to its parent.

A script that opens its trial at its top level opens it again in each process that `multiprocessing` spawns, such as the
workers of a data loader, because they import the script. A second start and a second end would be in the record.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from sweeper.record.facts import Facts
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.worker.ranks import is_first

VARIABLE = "SWEEPER_OPENED_BY"
"""The environment variable that a child inherits: the pid of its parent, the attempt's number, the trial's path."""


class Bequest:
    """Tell child processes that this process has an attempt open, until it is withdrawn."""

    def __init__(self, directory: TrialDir, attempt: AttemptDir) -> None:
        self._previous = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = f"{os.getpid()} {attempt.number} {directory.path.absolute()}"

    def withdraw(self) -> None:
        """Restore the variable."""
        if self._previous is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = self._previous


def attempt() -> tuple[TrialDir, AttemptDir, Facts, Callable[[int], None]] | None:
    """Return the attempt that a parent process has open, as `opening` needs it, or None.

    Ranks of one trial have records of their own, and a program that was started without a sweep, other than by
    `multiprocessing`, is a run of its own.
    """
    pid, _, rest = os.environ.get(VARIABLE, "").partition(" ")
    number, _, path = rest.partition(" ")
    if not path or pid == str(os.getpid()) or not is_first():
        return None
    directory = TrialDir(Path(path))
    if TRIAL_DIR in os.environ:
        own = (Path(os.environ[TRIAL_DIR]).absolute(), os.environ.get(ATTEMPT, "1"))
        if own != (directory.path, number):  # a sweep within a trial
            return None
    elif not _is_spawned():
        return None
    return directory, directory.attempt(int(number)), Facts.read(directory), lambda _: None


def _is_spawned() -> bool:
    """Return whether `multiprocessing` started this process. Does not import it."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return False
    # While a spawned process imports the script, it does not know its parent yet.
    return process.parent_process() is not None or getattr(process.current_process(), "_inheriting", False)
