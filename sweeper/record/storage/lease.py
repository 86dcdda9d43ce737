"""Leases: an flock on a file. While it is held, a process that holds it is alive, whatever pids say.

The lock belongs to the open file description, so it passes to children that inherit the descriptor and is gone
with the last of them (flock(2)). The text in the file is for people only.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from sweeper.record.storage import confined

try:
    import fcntl
except ImportError:  # not a Unix: a record can be read here, but no trial can run
    fcntl = None  # type: ignore[assignment]


RETRIES_S = (0.0, 0.005, 0.02, 0.05)
"""Pauses before each try: a process that checks whether a lease is held holds it for that moment."""


MOST_BYTES = 4096
"""Maximum size of the text in a lease that is read."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease; `fd` may be passed to children, which then hold it too."""

    fd: int

    def release(self) -> None:
        """Release this process's share of the lease."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


def acquire(path: Path, *, holder: str) -> Lease | None:
    """Take the lease; return None where another process holds it. `holder` is written into the file, for people.

    Raises:
        OSError: the file cannot be made, is a link or no file, or its file system has no locks.
    """
    fd = confined.open_file(path, os.O_RDWR | os.O_CREAT)
    for pause_s in RETRIES_S:
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
    """Whether a process on this machine holds the lease; False where there is no file that could be held."""
    if fcntl is None:
        return False
    try:
        fd = confined.open_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno in confined.NO_FILE:
            return False
        raise
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def holder_of(path: Path) -> str:
    """Return what the holder wrote about itself; empty where there is no such text."""
    try:
        return confined.read_bytes(path, most=MOST_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
