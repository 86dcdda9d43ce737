"""A sweep outlives its terminal, and whoever reads its output; it waits for neither.

Workers sit in sessions of their own, so a dropped connection ends the orchestrator alone, and then nobody prunes,
launches or hands on a stop. So SIGHUP is taken and nothing is done, as under nohup(1), and what nobody can read any
more (EPIPE behind `| head`, EIO of a terminal that is gone) counts as written. What a stopped terminal (Ctrl-S) or a
full pipe (`| less`) does not take waits here, and not the loop that wrote it. SIGTERM is a Ctrl-C, from the first line
to the last; the orchestrator's own handlers stand in between.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import stat
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Unheard(io.FileIO):
    """A descriptor that takes everything at once: also where nobody is left to read it, or does not read it now."""

    @classmethod
    def over(cls, fd: int) -> Unheard:
        """One over a terminal or a pipe is opened anew: not to block is said of an open file, and others have that."""
        if os.isatty(fd) or stat.S_ISFIFO(os.fstat(fd).st_mode):
            with contextlib.suppress(OSError):
                return cls(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
        return cls(fd, closefd=False)

    def __init__(self, fd: int, *, closefd: bool = True) -> None:
        super().__init__(fd, "wb", closefd=closefd)
        self._waiting = bytearray()

    def write(self, data: ReadableBuffer) -> int:
        """Take it, and hand on what can be."""
        self._waiting += memoryview(data)
        self.hand_on()
        return memoryview(data).nbytes

    def hand_on(self) -> bool:
        """Write what can be written now; whether that is all of it."""
        try:
            while self._waiting and (count := super().write(self._waiting)):
                del self._waiting[:count]
        except OSError:
            self._waiting.clear()
        return not self._waiting


def is_behind(stream: IO[Any]) -> bool:
    """Whether something waits in the stream that its reader does not take now; it is offered once more."""
    raw = getattr(getattr(stream, "buffer", stream), "raw", None)
    return isinstance(raw, Unheard) and not raw.hand_on()


def _hand_on_all(stream: IO[Any]) -> None:
    """Wait until its reader has taken all."""
    while is_behind(stream):
        select.select([], [stream], [])


@contextlib.contextmanager
def unattended() -> Iterator[None]:
    """Within it, neither the end of the terminal nor that of the output's reader ends this process, nor holds it.

    Only in the end the rest is waited for: who has stopped the terminal starts it again, or presses Ctrl-C.
    """
    before = sys.stdout, sys.stderr
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    hangup = signal.getsignal(signal.SIGHUP)
    if hangup is signal.SIG_DFL:  # not SIG_IGN, which the workers would inherit; under nohup it is that already
        signal.signal(signal.SIGHUP, _nothing)
    streams = sys.stdout, sys.stderr = _unheard(sys.stdout), _unheard(sys.stderr)
    try:
        yield
    finally:
        try:
            for stream in streams:
                stream.flush()
                _hand_on_all(stream)
        finally:
            sys.stdout, sys.stderr = before
            for stream in {*streams} - {*before}:
                stream.close()
            signal.signal(signal.SIGHUP, hangup)
            signal.signal(signal.SIGTERM, terminate)


def _unheard(stream: TextIO | None) -> TextIO:
    """The stream over an `Unheard` descriptor; itself where it has none, as in a test, and nowhere for a closed one."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(Unheard(os.open(os.devnull, os.O_WRONLY))))
    try:
        stream.flush()
        raw = Unheard.over(stream.fileno())
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty(),
        write_through=False,
    )


def _nothing(_number: int, _frame: object) -> None:
    """Take a signal."""
