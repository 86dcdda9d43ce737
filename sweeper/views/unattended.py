"""A sweep outlives its terminal, and whoever reads its output.

Workers sit in sessions of their own, so a dropped connection ends the orchestrator alone, and then nobody prunes,
launches or hands on a stop. So SIGHUP is taken and nothing is done, as under nohup(1), and what nobody can read any
more (EPIPE behind `| head`, EIO of a terminal that is gone) counts as written. SIGTERM is a Ctrl-C, from the first
line to the last; the orchestrator's own handlers stand in between.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Unheard(io.FileIO):
    """A descriptor that takes everything, also where nobody is left to read it."""

    def write(self, data: ReadableBuffer) -> int:
        """Write, or leave it."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextlib.contextmanager
def unattended() -> Iterator[None]:
    """Within it, neither the end of the terminal nor that of the output's reader ends this process."""
    before = sys.stdout, sys.stderr
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    hangup = signal.getsignal(signal.SIGHUP)
    if hangup is signal.SIG_DFL:  # not SIG_IGN, which the workers would inherit; under nohup it is that already
        signal.signal(signal.SIGHUP, _nothing)
    sys.stdout, sys.stderr = _unheard(sys.stdout), _unheard(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
        signal.signal(signal.SIGHUP, hangup)
        signal.signal(signal.SIGTERM, terminate)


def _unheard(stream: TextIO | None) -> TextIO:
    """The stream over an `Unheard` descriptor; itself where it has none, as in a test, and nowhere for a closed one."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(Unheard(os.open(os.devnull, os.O_WRONLY), "wb")))
    try:
        stream.flush()
        raw = Unheard(stream.fileno(), "wb", closefd=False)
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
