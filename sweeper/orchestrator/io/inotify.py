"""Watch the directories of running attempts with inotify(7): which attempts appended to their files, which ended.

The kernel may lose events (its queue is bounded), may refuse a watch (watches are limited), and does not see what other
hosts write to a shared disk. Events are therefore hints where to read at once; all running trials are also read at
regular intervals.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from sweeper.record.storage.layout import AttemptDir

MODIFY, MOVED_TO, DELETE_SELF, MOVE_SELF = 0x2, 0x80, 0x400, 0x800
OVERFLOW, IGNORED, ONLYDIR = 0x4000, 0x8000, 0x01000000
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_BUFFER = 1 << 16


class InotifyQueue:
    """One queue of inotify(7) for the kinds of events in a mask, in any number of directories.

    Raises:
        OSError: inotify does not exist here, or this user has no instance left.
    """

    def __init__(self, mask: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mask = mask | ONLYDIR
        self._numbers: dict[int, int] = {}
        self._watches: dict[int, int] = {}
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def watch(self, number: int, path: bytes) -> None:
        """Watch a directory; its events are reported by `number`.

        Raises:
            OSError: the directory does not exist, or no watch is left.
        """
        watch = self._checked(self._libc.inotify_add_watch(self.fd, path, self._mask))
        self._numbers[watch], self._watches[number] = number, watch

    def unwatch(self, number: int) -> None:
        """Stop watching a directory."""
        watch = self._watches.pop(number, None)
        if watch is not None:
            self._numbers.pop(watch, None)
            self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> Iterator[int | None]:
        """Yield the number of the directory of each event since the last call; None if the kernel lost events."""
        while data := self._read_buffer():
            offset = 0
            while offset < len(data):
                watch, mask, _, length = _HEAD.unpack_from(data, offset)
                offset += _HEAD.size + length
                if mask & OVERFLOW:
                    yield None
                elif not mask & IGNORED and watch in self._numbers:
                    yield self._numbers[watch]

    def close(self) -> None:
        """Close the queue."""
        os.close(self.fd)

    def _read_buffer(self) -> bytes:
        try:
            return os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return b""

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result


@dataclass(slots=True)
class AttemptWatcher:
    """Watches the running attempts, by the numbers of their trials.

    `unwatched` are the trials of which the kernel reports nothing. The end of an attempt makes the descriptors of
    `filenos` readable and so wakes the loop. Appending does not, because a thousand workers would wake it all the time;
    what was appended is reported at the next call of `changed`.
    """

    unwatched: set[int] = field(default_factory=set)
    _appended: InotifyQueue | None = None
    _ended: InotifyQueue | None = None

    @classmethod
    def open(cls, *, reliable: bool = True) -> AttemptWatcher:
        """Return a watcher; it watches nothing if inotify is missing or, as on a shared disk, not reliable."""
        watcher = cls()
        if reliable:
            with contextlib.suppress(OSError, AttributeError):  # no instance left, or not in this system's libc
                watcher._appended = InotifyQueue(MODIFY)
                watcher._ended = InotifyQueue(MOVED_TO | DELETE_SELF | MOVE_SELF)
        return watcher

    def watch(self, number: int, attempt: AttemptDir) -> None:
        """Watch an attempt of a trial, and no longer an earlier one."""
        self.unwatch(number)
        try:
            for queue in (self._appended, self._ended):
                if queue is None:
                    self.unwatched.add(number)
                else:
                    queue.watch(number, os.fsencode(attempt.path))
        except OSError:
            self.unwatched.add(number)

    def unwatch(self, number: int) -> None:
        """Stop watching a trial."""
        self.unwatched.discard(number)
        for queue in (self._appended, self._ended):
            if queue is not None:
                queue.unwatch(number)

    def changed(self) -> set[int] | None:
        """Return the watched trials with events since the last call; None if events were lost and any may have some."""
        found = {number for queue in (self._appended, self._ended) if queue is not None for number in queue.read()}
        return None if None in found else {number for number in found if number is not None}

    def filenos(self) -> list[int]:
        """Return the descriptors that become readable when an attempt ends."""
        return [] if self._ended is None else [self._ended.fd]

    def close(self) -> None:
        """Stop watching everything."""
        for queue in (self._appended, self._ended):
            if queue is not None:
                queue.close()
        self._appended = self._ended = None
