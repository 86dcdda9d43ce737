"""What the kernel tells of attempts (inotify(7)): which appended something, and which have ended.

It may forget (its queue is bounded), it may refuse (watches are), and on a disk that hosts share it does not know what
others write. So it only says where to look at once: everybody who runs is looked at now and then anyhow.
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
_MOST = 1 << 16


class Kernel:
    """One queue of inotify(7), for what a mask names in directories.

    Raises:
        OSError: there is no inotify here, or none is left for this user.
    """

    def __init__(self, mask: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mask = mask | ONLYDIR
        self._numbers: dict[int, int] = {}
        self._watches: dict[int, int] = {}
        self.fd = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def watch(self, number: int, path: bytes) -> None:
        """Be told of a directory, by a number.

        Raises:
            OSError: it is not there, or no watch is left.
        """
        watch = self._checked(self._libc.inotify_add_watch(self.fd, path, self._mask))
        self._numbers[watch], self._watches[number] = number, watch

    def forget(self, number: int) -> None:
        """Be told no more of a directory."""
        watch = self._watches.pop(number, None)
        if watch is not None:
            self._numbers.pop(watch, None)
            self._libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> Iterator[int | None]:
        """What happened since the last call: numbers, with repetitions; None where the kernel has lost some."""
        while data := self._taken():
            place = 0
            while place < len(data):
                watch, mask, _, length = _HEAD.unpack_from(data, place)
                place += _HEAD.size + length
                if mask & OVERFLOW:
                    yield None
                elif not mask & IGNORED and watch in self._numbers:
                    yield self._numbers[watch]

    def close(self) -> None:
        """Be told of nothing any more."""
        os.close(self.fd)

    def _taken(self) -> bytes:
        try:
            return os.read(self.fd, _MOST)
        except BlockingIOError:
            return b""

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result


@dataclass(slots=True)
class Notices:
    """Of the attempts that run, by the numbers of their trials.

    `unwatched` are those that the kernel says nothing of. Ends wake whoever waits for `fileno`; what is appended does
    not, or a thousand workers would: it is there to be taken when somebody looks.
    """

    unwatched: set[int] = field(default_factory=set)
    _appended: Kernel | None = None
    _ended: Kernel | None = None

    @classmethod
    def here(cls, *, trusted: bool = True) -> Notices:
        """Those of this machine; of nothing where there are none, or where they are not to be trusted."""
        notices = cls()
        if trusted:
            with contextlib.suppress(OSError, AttributeError):  # no inotify left, or none in this system's library
                notices._appended = Kernel(MODIFY)
                notices._ended = Kernel(MOVED_TO | DELETE_SELF | MOVE_SELF)
        return notices

    def watch(self, number: int, attempt: AttemptDir) -> None:
        """Be told of a trial's attempt, and of no earlier one."""
        self.forget(number)
        try:
            for kernel in (self._appended, self._ended):
                if kernel is None:
                    self.unwatched.add(number)
                else:
                    kernel.watch(number, os.fsencode(attempt.path))
        except OSError:
            self.unwatched.add(number)

    def forget(self, number: int) -> None:
        """Be told no more of a trial."""
        self.unwatched.discard(number)
        for kernel in (self._appended, self._ended):
            if kernel is not None:
                kernel.forget(number)

    def take(self) -> set[int] | None:
        """Of which trials there is news since the last call, as far as it is known; None: it may be any."""
        told = {number for kernel in (self._appended, self._ended) if kernel is not None for number in kernel.read()}
        return None if None in told else {number for number in told if number is not None}

    def filenos(self) -> list[int]:
        """What becomes readable when an attempt ends."""
        return [] if self._ended is None else [self._ended.fd]

    def close(self) -> None:
        """Be told of nothing any more."""
        for kernel in (self._appended, self._ended):
            if kernel is not None:
                kernel.close()
        self._appended = self._ended = None
