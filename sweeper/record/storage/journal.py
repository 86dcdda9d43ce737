"""Append-only files of events: one writer, any number of readers, each with its own offset.

Invariants:
1. An append is one `write` of whole lines to a descriptor opened with O_APPEND.
2. An append that fails is undone. A writer that still finds a torn last line (the writer before it or the machine was
   killed) starts a new line first: the torn line is skipped, never joined.
3. A complete record is never hidden: not by a torn neighbour, not by a missing final newline.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeper.errors import RecordError
from sweeper.record.events import Event
from sweeper.record.storage import confined
from sweeper.record.storage.codec import decode, decode_all, encode
from sweeper.record.storage.layout import unwritable

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
        try:
            self._fd = confined.open_file(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
            self._torn = not _ends_with_newline(self._fd)
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
        lines = b"".join(map(encode, events))
        if not lines:
            return
        try:
            append_whole(self._fd, b"\n" + lines if self._torn else lines)
            self._torn = False
            if sync:
                os.fsync(self._fd)
        except OSError as error:
            self._torn = self._torn or not _ends_with_newline(self._fd)
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

    `count` events were read up to `offset` bytes; `damaged` lines were not events.
    """

    path: Path
    offset: int = 0
    count: int = 0
    damaged: int = 0

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
        self.offset += len(data) - len(tail)
        events = self._decoded([line for line in lines if line])
        if tail.endswith(b"}") and (last := _whole(tail)) is not None:
            self.offset += len(tail)
            events.append(last)
        self.count += len(events)
        return events

    def _decoded(self, lines: Sequence[bytes]) -> list[Event]:
        try:
            found = decode_all(lines)
        except ValueError:
            found = [self._decode_one(line) for line in lines]
        return [event for event in found if event is not None]

    def _decode_one(self, line: bytes) -> Event | None:
        try:
            return decode(line)
        except ValueError:
            self.damaged += 1
            return None


def read_journal(path: Path) -> list[Event]:
    """Return all complete events of a file."""
    return JournalReader(path).read()


def _whole(tail: bytes) -> Event | None:
    """Return the event of a line without newline, None where it is torn: no proper prefix of a JSON object is one."""
    try:
        return decode(tail)
    except ValueError:
        return None


def _ends_with_newline(fd: int) -> bool:
    """Whether the next line may begin here; a file that cannot be read counts as ending in a torn line."""
    try:
        size = os.fstat(fd).st_size
        return size == 0 or os.pread(fd, 1, size - 1) == b"\n"
    except OSError:
        return False
