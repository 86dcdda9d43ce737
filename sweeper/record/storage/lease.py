"""A lease is an flock on a file: held means that somebody who holds it is alive, whatever pids say.

The lock belongs to the open file description, so it passes to children that inherit the descriptor and is gone
with the last of them (flock(2)). The text in the file only helps a person; nothing is decided by it.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix: a record can be read there, but nothing of it can be running
    fcntl = None  # type: ignore[assignment]


LOOKS_S = (0.0, 0.005, 0.02, 0.05)
"""Pauses before each try: whoever only asks whether a lease is held holds it for that moment."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease; `fd` may be passed to children, which then hold it too."""

    fd: int

    def release(self) -> None:
        """Let go of this process's share."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


def acquire(path: Path, *, holder: str) -> Lease | None:
    """The lease, or None where somebody else holds it; `holder` is written into the file for people to read.

    Raises:
        OSError: the file cannot be made, or its file system knows no locks.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    for pause_s in LOOKS_S:
        time.sleep(pause_s)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
    else:
        os.close(fd)
        return None
    with contextlib.suppress(OSError):  # a full disk: the lease holds without the text
        os.ftruncate(fd, 0)
        os.pwrite(fd, holder.encode(), 0)
    return Lease(fd)


def is_held(path: Path) -> bool:
    """Whether anybody on this machine holds the lease; a file that is not there, or no file, is not held."""
    if fcntl is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder_of(path: Path) -> str:
    """What the holder wrote about itself, empty where nobody did."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
