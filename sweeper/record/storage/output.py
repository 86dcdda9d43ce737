"""The output of a worker, `output.log`: its head and its tail are kept, its middle is removed once it is too long.

The removed bytes become a hole of the file, so that offsets stay valid: the worker appends to the file meanwhile, and
several processes read it. The shim records each cut in `output-cuts.jsonl` before it removes anything. A reader that
looks for a cut after it has read some bytes therefore knows which of them are not output.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from sweeper.record.events import OutputCut
from sweeper.record.storage import confined
from sweeper.record.storage.codec import decode
from sweeper.record.storage.layout import AttemptDir

MARKER = b"[sweeper: the output is longer than output_limit_mb, so its middle was removed here]\n"
"""The line that stands in the log between the head and the hole."""
PIECE = 65_536
KEEP_SIZE, PUNCH_HOLE = 0x01, 0x02
"""Modes of fallocate(2)."""


def cut_of(attempt: AttemptDir) -> OutputCut | None:
    """Return which bytes of the attempt's output were removed; None if it is whole."""
    return _last_cut(attempt.output_cuts)


def pieces(attempt: AttemptDir, offset: int, until: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Yield the output of an attempt in pieces, each with the offset at which the next reading begins.

    Removed bytes are left out. If the bytes at `offset` were removed before they could be read, `MARKER` is yielded.
    A hole that is no cut has bytes that no program has written; it is yielded as an empty piece.

    Args:
        attempt: the attempt. Without output, nothing is yielded.
        offset: where to begin.
        until: where to end; by default, at the end of the file.

    Raises:
        OSError: the output cannot be read.
    """
    try:
        fd = confined.open_file(attempt.output)
    except FileNotFoundError:
        return
    try:
        end = os.fstat(fd).st_size if until is None else until
        while offset < end:
            begin, stop = _next_data(fd, offset, end)
            data = os.pread(fd, min(PIECE, stop - offset), offset) if begin == offset else b""
            cut = cut_of(attempt)  # after the read: what was removed before it is known by now
            head = end if cut is None else cut.begin - len(MARKER)
            if cut is not None and offset < cut.end and offset + max(len(data), begin - offset) > head:
                kept, offset = data[: max(0, head - offset)], cut.end
                yield kept + MARKER, offset
            elif begin > offset or data:
                offset += len(data) or begin - offset
                yield data, offset
            else:
                return
    finally:
        os.close(fd)


def _next_data(fd: int, offset: int, end: int) -> tuple[int, int]:
    """Return where the next bytes that were written begin and end: a file of a terabyte may be one hole."""
    try:
        begin = os.lseek(fd, offset, os.SEEK_DATA)
        return min(begin, end), min(os.lseek(fd, begin, os.SEEK_HOLE), end)
    except OSError as error:  # there are none, or the file system knows no holes
        return (end, end) if error.errno == errno.ENXIO else (offset, end)


def remove(path: Path, cut: OutputCut) -> bool:
    """Remove the bytes of a cut from a log, and write `MARKER` in front of them.

    Returns:
        Whether the file takes less space now. If not, its file system can neither punch holes nor store sparse files.

    Raises:
        OSError: the file cannot be written.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        before = os.fstat(fd).st_blocks
        if not _punch(fd, cut.begin, cut.end - cut.begin):
            _make_sparse(path, fd, cut)
        os.pwrite(fd, MARKER, cut.begin - len(MARKER))
        return os.fstat(fd).st_blocks < before
    finally:
        os.close(fd)


def _punch(fd: int, begin: int, length: int) -> bool:
    """Make a hole in a file; return False if its file system cannot do that."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, begin, length) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EOPNOTSUPP, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number))


def _make_sparse(path: Path, fd: int, cut: OutputCut) -> None:
    """Write a file anew as head, hole and tail, for file systems without holes on request, such as NFS 3.

    The tail is appended, so a line that the worker writes meanwhile may come before it, but is not overwritten.
    """
    tail = os.pread(fd, os.fstat(fd).st_size - cut.end, cut.end)
    os.ftruncate(fd, cut.begin)
    os.ftruncate(fd, cut.end)
    with path.open("ab", buffering=0) as appended:
        view = memoryview(tail)
        while view:
            view = view[appended.write(view) :]


def _last_cut(path: Path) -> OutputCut | None:
    try:
        with confined.reading(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read(4096).split(b"\n")
    except OSError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            if isinstance(event := decode(line), OutputCut) and 0 <= event.begin < event.end:
                return event
    return None
