"""Standard output, and the files that a user names for output.

A file is written beside its place and then renamed, so that readers see all of it or none. Only a regular file is
replaced in this way. What is written to a device, a pipe, or one of the process's own descriptors (`/dev/stdout`) goes
into it, and a link stays a link.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from sweeper.errors import Unwritable, UsageError
from sweeper.record.storage.layout import reason_of

CLOSED = "standard output is closed, so nothing can be written to it; open it, or name a file"
DESCRIPTOR = re.compile(r"(?:/dev/fd|/proc/(?:self|thread-self|\d+)/fd)/(\d+)")
MOST_LINKS = 40
_closed: set[int] = set()


def prepare_streams() -> None:
    """Make the standard streams safe to use.

    A closed one becomes /dev/null: otherwise the next file that is opened would take its number, and children would
    write into that file. Characters that the encoding of a stream lacks are escaped.
    """
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            _closed.add(fd)
            if getattr(sys, name) is None:
                setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def put(data: str | bytes) -> None:
    """Write data to standard output, for a command that was asked for the data there.

    Raises:
        UsageError: standard output is closed.
        OSError: it cannot be written.
    """
    if 1 in _closed:
        raise UsageError(CLOSED)
    if isinstance(data, str):
        sys.stdout.write(data)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def drop_output() -> None:
    """Give up on output that cannot be written, so that Python does not try it again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_output(path: Path, source: bytes | Path, *, special: bool = True) -> None:
    """Write a file that the user has named.

    Args:
        path: the file.
        source: its bytes, or a file with them.
        special: whether it may be a device or a pipe, because the user named the file itself.

    Raises:
        UsageError: there is a directory in its place, or its directory does not exist.
        Unwritable: it cannot be written. An earlier file is still there.
    """
    try:
        target = Path(os.path.realpath(path))
        kind = target.stat().st_mode if target.exists() else stat.S_IFREG
        if stat.S_ISDIR(kind):
            raise UsageError(f"{path}: expected the name of a file, got a directory; add a name, as in {path / 'out'}")
        if not special and not stat.S_ISREG(kind):
            raise UsageError(f"{path}: expected a regular file or none, got a device or a pipe; move it away")
        if special and (fd := _descriptor(path)) is not None:
            with os.fdopen(os.dup(fd), "wb") as file:  # so that it goes on where this process has written before
                _copy(source, file)
            return
        if not target.parent.is_dir():
            raise UsageError(f"{path}: expected a directory that exists, got no {target.parent}; make it first")
        if not stat.S_ISREG(kind):
            with path.open("wb") as file:
                _copy(source, file)
        else:
            _replace(target, source)
    except OSError as error:
        raise Unwritable(f"{path}: cannot be written: {reason_of(error)}") from error


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path such as /dev/stdout names; None for another path."""
    for _ in range(MOST_LINKS):
        if (match := DESCRIPTOR.fullmatch(str(path.absolute()))) is not None:
            return int(match[1])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _replace(path: Path, source: bytes | Path) -> None:
    """Replace a regular file, or make it, with the mode that it has or that new files get."""
    temporary = path.with_name(f".sweeper-{os.getpid()}.tmp")  # the name of the file may be as long as names can be
    try:
        with temporary.open("wb") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            _copy(source, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: bytes | Path, file: BinaryIO) -> None:
    if isinstance(source, bytes):
        file.write(source)
        return
    with source.open("rb") as made:
        shutil.copyfileobj(made, file)
