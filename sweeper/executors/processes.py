"""The processes of an attempt: they have its mark in their environment, or they hold its lease."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir

PROC = Path("/proc")


def is_of(pid: int, attempt: AttemptDir) -> bool:
    """Return whether a process belongs to the attempt or descends from its shim.

    Descent matters for a process that is about to end: it has a parent, but no environment or descriptors any more.
    """
    return _belongs(PROC / str(pid), *_signs(attempt)) or owner_of(attempt).get("pid") in _ancestors(pid)


def marked(attempt: AttemptDir) -> set[int]:
    """Return the pids of all processes of the attempt."""
    marks, lease = _signs(attempt)
    return {int(process.name) for process in PROC.glob("[0-9]*") if _belongs(process, marks, lease)}


def kill_marked(attempt: AttemptDir) -> None:
    """Send SIGKILL to all processes of the attempt, including those that start in the meantime."""
    killed: set[int] = set()
    while new := marked(attempt) - killed:
        for pid in new:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= new


def parent_and_session(pid: int) -> tuple[int, int]:
    """Return the parent's pid and the session of a process; -1 for both if it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1, -1
    return int(fields[1]), int(fields[3])


def _ancestors(pid: int) -> list[int]:
    found = [pid]
    while found[-1] > 1:
        found.append(parent_and_session(found[-1])[0])
    return found


def _signs(attempt: AttemptDir) -> tuple[set[bytes], Path]:
    """Return the variables that mark the environment of the attempt's processes, and the lease that they hold.

    /proc shows the environment of a preloaded worker as that of the process it was forked from, without the marks. Such
    a worker is recognised by the lease; the processes that it starts have the marks.
    """
    trial = attempt.path.parent.parent.absolute()
    return {f"{TRIAL_DIR}={trial}".encode(), f"{ATTEMPT}={attempt.number}".encode()}, attempt.lease.absolute().resolve()


def _belongs(process: Path, marks: set[bytes], lease: Path) -> bool:
    try:
        return marks <= set((process / "environ").read_bytes().split(b"\0")) or _holds(process, lease)
    except OSError:
        return False


def _holds(process: Path, lease: Path) -> bool:
    """Return whether a process has the lease open for writing; a process that only tests it opens it for reading."""
    for fd in (process / "fd").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if fd.readlink() == lease:
                flags = (process / "fdinfo" / fd.name).read_text().partition("flags:")[2].split()[0]
                if int(flags, 8) & os.O_ACCMODE == os.O_RDWR:
                    return True
    return False
