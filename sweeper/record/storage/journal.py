"""Append-only files of events: one writer, any number of readers, each with its own offset.

Invariants:
1. An append is one `write` of whole lines to a descriptor opened with O_APPEND.
2. An append that fails is undone. A writer that still finds a torn last line (the writer before it or the machine was
   killed) starts a new line first: the torn line is skipped, never joined.
3. A complete record is never hidden: not by a torn neighbour, not by a missing final newline.
4. Each line has a checksum (`storage.checksums`). A reader leaves out a line that does not match its own, and names it.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.errors import RecordError
from sweeper.record.events import Event
from sweeper.record.storage import confined
from sweeper.record.storage.checksums import AFTER_OLDER_LINES, Damage, continued, summed
from sweeper.record.storage.codec import decode, encode
from sweeper.record.storage.layout import unwritable
from sweeper.record.storage.line_checks import LineChecks

END_BYTES = 1 << 12
"""Of a journal, from its end: what a writer reads to continue its checksums, unless its last line is longer."""

MOST_AT_ONCE = 32 << 20
"""Maximum number of bytes that are read at once, and so of one line: a journal may be as long as the disk."""


class JournalWriter:
    """Appends events to one file, which it creates. There must be no other writer of that file."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            Unwritable: it cannot be opened for writing.
        """
        self._path = path
        self._fd = -1
        self._sum: int | None
        try:
            self._fd = confined.open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            self._torn, self._sum = _end_of(self._fd)
        except OSError as error:
            self.close()
            raise unwritable(path, error) from error

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Append an event; with `sync`, it is on the disk when this returns.

        Raises:
            Unwritable: the disk is full or gone; the file is as it was.
        """
        self.extend([event], sync=sync)

    def extend(self, events: Iterable[Event], *, sync: bool = False) -> None:
        """Append several events at once: all of them, or none.

        Raises:
            Unwritable: as `append`.
        """
        bare = [encode(event) for event in events]
        if not bare:
            return
        try:
            if self._sum is None:  # an earlier append failed, and may not have been undone
                self._torn, self._sum = _end_of(self._fd)
            lines, total = _summed_all(bare, self._sum)
            append_whole(self._fd, b"\n" + lines if self._torn else lines)
            self._torn, self._sum = False, total
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            self._sum = None
            raise unwritable(self._path, error) from error

    def close(self) -> None:
        """Close the file; appending afterwards is an error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def append_whole(fd: int, data: bytes) -> None:
    """Append all of `data` to a file, or nothing.

    Raises:
        OSError: the disk is full or gone. A part that was written is removed, if the disk allows it.
    """
    size = os.fstat(fd).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)
        raise


@dataclass(slots=True)
class JournalReader:
    """Reads what was appended since the last `read`. A file that does not exist yet counts as empty.

    Attributes:
        path: the file.
        strict: whether every line must have a checksum. Otherwise, lines before the first one are of an older format.
        offset: how many bytes were read.
        count: how many events were read.
        incomplete: the last line, where it has no end; it may still be written.
    """

    path: Path
    strict: bool = False
    offset: int = 0
    count: int = 0
    incomplete: Damage | None = None
    _checks: LineChecks = field(init=False)

    def __post_init__(self) -> None:
        self._checks = LineChecks(self.path, self.strict)

    @property
    def damage(self) -> Sequence[Damage]:
        """The lines that were left out."""
        return self._checks.damage

    @property
    def damaged(self) -> int:
        """The number of lines that were left out."""
        return len(self._checks.damage)

    @property
    def lines(self) -> int:
        """The number of lines that were read."""
        return self._checks.lines

    @property
    def unsummed(self) -> int:
        """The number of lines without a checksum, because an older version wrote them."""
        return self._checks.unsummed

    def read(self, until: int = -1) -> list[Event]:
        """Return the events completed since the last call, in order.

        Args:
            until: read the file only up to this byte; by default, to its end.

        Raises:
            RecordError: the file is not a regular file, or cannot be read.
        """
        events: list[Event] = []
        try:
            with confined.reading(self.path) as file:
                end = os.fstat(file.fileno()).st_size if until < 0 else until
                self.incomplete = None
                while self.offset < end:
                    file.seek(self.offset)
                    begin, data = self.offset, file.read(min(end - self.offset, MOST_AT_ONCE))
                    events += self._take(data)
                    if self.offset == begin:
                        break
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RecordError(f"{self.path}: expected a readable file, got: {error.strerror}") from error
        if end - self.offset >= MOST_AT_ONCE:
            raise RecordError(f"{self.path}: expected lines of at most {MOST_AT_ONCE:,} bytes, got a longer one")
        return events

    def _take(self, data: bytes) -> list[Event]:
        """Return the events of bytes that were read at `offset`, which then is behind the last complete one."""
        *lines, tail = data.split(b"\n")
        whole = data[: len(data) - len(tail)]
        self.offset += len(whole)
        events = self._checks.believed(whole, lines)
        self.incomplete = None
        if tail.endswith(b"}") and _is_event(tail):
            self.offset += len(tail)
            events += self._checks.without_newline(tail)
        elif tail:
            self.incomplete = self._checks.incomplete(tail)
        self.count += len(events)
        return events


def read_journal(path: Path) -> list[Event]:
    """Return all complete events of a file."""
    return JournalReader(path).read()


def _is_event(tail: bytes) -> bool:
    """Whether a line without a newline is complete: no proper prefix of a JSON object is one."""
    try:
        decode(tail)
    except ValueError:
        return False
    return True


def _summed_all(lines: Iterable[bytes], before: int) -> tuple[bytes, int]:
    """Return lines with their checksums as one text, and the checksum of the file after them."""
    parts = []
    for line in lines:
        part, before = summed(line, before)
        parts.append(part)
    return b"".join(parts), before


def _end_of(fd: int) -> tuple[bool, int]:
    """Return whether a journal ends in a torn line, and the checksum from which its next line continues.

    Raises:
        OSError: the file cannot be read.
    """
    size = os.fstat(fd).st_size
    if size == 0:
        return False, 0
    torn = os.pread(fd, 1, size - 1) != b"\n"
    for length in _windows(size):
        total = continued(os.pread(fd, length, size - length))
        if total is not None:
            return torn, zlib.crc32(b"\n", total) if torn else total
    return torn, AFTER_OLDER_LINES


def _windows(size: int) -> Iterator[int]:
    yield min(size, END_BYTES)
    if size > END_BYTES:
        yield size
