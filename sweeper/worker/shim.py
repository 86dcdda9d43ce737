"""The shim: `python -m sweeper.worker.shim TRIAL ATTEMPT COMMAND...`, the parent of one attempt's worker.

Only a parent can wait for a process, and the orchestrator may die before its workers. So the shim claims the attempt,
starts the worker, hands it a stop (SIGTERM), kills all descendants when told to (SIGQUIT: a second SIGTERM would be
merged with the first), reaps them, and writes how the worker ended. It is the leader of a session of its own, and a
sub-reaper (prctl(2), PR_SET_CHILD_SUBREAPER): what the worker leaves behind, in whatever session, becomes its child.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from sweeper.errors import SweeperError, Unwritable
from sweeper.record.claim import claim
from sweeper.record.layout import ATTEMPT, TRIAL_DIR, TrialDir
from sweeper.worker.alone import write_exit

PR_SET_CHILD_SUBREAPER = 36
STOP, KILL = signal.SIGTERM, signal.SIGQUIT
NOT_FOUND = 127
LEFTOVERS_S = 10.0


class Shim:
    """One attempt's worker, from start to end."""

    def __init__(self) -> None:
        self._worker = 0
        self._asked: set[int] = set()
        signal.signal(STOP, self._on_signal)
        signal.signal(KILL, self._on_signal)

    def run(self, command: Sequence[str], environment: Mapping[str, str], lease_fd: int) -> int:
        """Start the worker and reap until it has ended; returns its wait status.

        Raises:
            OSError: the command cannot be started.
        """
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[lease_fd])
        self._worker = worker.pid
        self._hand_on()  # what was asked while there was no worker yet
        while True:
            pid, status = os.waitpid(-1, 0)
            if pid == worker.pid:
                worker.returncode = os.waitstatus_to_exitcode(status)  # reaped here, so Popen must not try
                return status

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._asked.add(number)
        if self._worker:
            self._hand_on()

    def _hand_on(self) -> None:
        """A stop goes to the worker; a kill ends it and all its descendants."""
        if KILL in self._asked:
            kill_descendants()
        elif STOP in self._asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGTERM)


def main() -> int:
    """Run one attempt; the exit code is 0 once its end is on the record."""
    trial, number, command = TrialDir(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3:]
    attempt = trial.attempt(number)
    shim = Shim()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        lease = claim(attempt)
    except SweeperError as error:
        print(error, file=sys.stderr)
        return os.EX_TEMPFAIL
    try:
        status = shim.run(command, {**os.environ, TRIAL_DIR: str(trial.path), ATTEMPT: str(number)}, lease.fd)
        code = os.waitstatus_to_exitcode(status)
    except OSError as error:
        print(f"{command[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        code = NOT_FOUND
    _reap_leftovers()
    try:
        write_exit(attempt, code=code if code >= 0 else None, signal=-code if code < 0 else None)
    except Unwritable as error:
        print(error, file=sys.stderr)
        return os.EX_IOERR
    return 0


def kill_descendants() -> None:
    """SIGKILL every descendant of this process."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """The pids below a process, parents first (proc(5): task/*/children)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def _reap_leftovers() -> None:
    """Kill and reap what the worker left behind, for a bounded time: one may sit in an uninterruptible sleep."""
    deadline = time.monotonic() + LEFTOVERS_S
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            kill_descendants()
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
