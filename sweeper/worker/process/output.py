"""Keep the output of a worker within `output_limit_mb`, while the worker and its descendants append to it."""

from __future__ import annotations

import os
import stat
import sys
import time

from sweeper.errors import Unwritable
from sweeper.record.events import OutputCut
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import AttemptDir
from sweeper.record.storage.output import MARKER, cut_of, remove

MB = 1_000_000
HEAD, TAIL = 1 / 2, 1 / 4
"""Shares of the limit that are kept at a cut, so that a cut is due only after another quarter was written."""
LINE = 65_536
"""Bytes within which the end of a line is looked for, so that whole lines are kept."""
SHORTEST_S, LONGEST_S = 0.02, 1.0


class OutputLimit:
    """Watches the size of an attempt's output. Standard output of this process is that file."""

    def __init__(self, attempt: AttemptDir, limit_mb: float, fd: int = 1) -> None:
        """Watch the output.

        Args:
            attempt: the attempt.
            limit_mb: the limit in units of 10^6 bytes; 0 for none.
            fd: the descriptor of the output. If it is not the attempt's file, nothing is watched.
        """
        self._attempt, self._fd = attempt, fd
        self._limit = round(limit_mb * MB) if _is_log(fd, attempt) else 0
        self._cut = cut_of(attempt)
        self._seen, self._at = 0, time.monotonic()

    def check(self) -> float | None:
        """Remove the middle of the output if it is too long.

        Returns:
            The seconds until the next check is due; None if there is no limit.
        """
        if not self._limit:
            return None
        size = os.fstat(self._fd).st_size
        removed = 0 if self._cut is None else self._cut.end - self._cut.begin
        if size - removed > self._limit:
            self._shorten(size)
            return SHORTEST_S
        now = time.monotonic()
        rate = (size - self._seen) / max(now - self._at, 1e-3)
        self._seen, self._at = size, now
        return min(LONGEST_S, max(SHORTEST_S, (self._limit - size + removed) / rate / 2)) if rate > 0 else LONGEST_S

    def _shorten(self, size: int) -> None:
        path = self._attempt.output
        begin = self._begin() if self._cut is None else self._cut.begin
        cut = OutputCut(time=time.time(), begin=begin, end=_after_newline(path, size - round(self._limit * TAIL)))
        try:
            with JournalWriter(self._attempt.output_cuts) as journal:
                journal.append(cut)
            smaller = remove(path, cut)
        except (Unwritable, OSError):
            return  # the next check tries it again
        self._cut = cut
        if not smaller:
            self._limit = 0
            sys.stderr.write(f"sweeper: {path}: output_limit_mb has no effect on this file system\n")

    def _begin(self) -> int:
        """Return where the removed bytes begin: after the head, which ends with a line, and after `MARKER`."""
        head = round(self._limit * HEAD)
        with self._attempt.output.open("rb") as log:
            log.seek(max(0, head - LINE))
            last = log.read(min(LINE, head)).rfind(b"\n") + 1
        return (max(0, head - LINE) + last if last else head) + len(MARKER)


def _after_newline(path: os.PathLike[str], offset: int) -> int:
    """Return the offset of the first line that begins at or after an offset, if it is near."""
    with open(path, "rb") as log:  # noqa: PTH123 - a path of any kind
        log.seek(offset - 1)
        return offset + log.read(LINE).find(b"\n")


def _is_log(fd: int, attempt: AttemptDir) -> bool:
    try:
        found = os.fstat(fd)
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, attempt.output.stat())
    except OSError:
        return False
