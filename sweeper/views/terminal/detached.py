"""Keep a command running after its terminal or the reader of its output is gone, and never block on output.

Workers run in sessions of their own, so a dropped connection would end only the orchestrator, and no process would
stop or launch trials any more. Therefore:

- SIGHUP is ignored, as under nohup(1).
- Output that cannot be written (EPIPE after `| head`, EIO of a closed terminal) is dropped.
- Output that a stopped terminal (Ctrl-S) or a full pipe (`| less`) does not accept is buffered here.
- SIGTERM acts like Ctrl-C, except while the orchestrator has its own handlers installed.
"""

from __future__ import annotations

import contextlib
import errno
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


_READER_IS_GONE = (errno.EPIPE, errno.EIO)


class NonBlockingOutput(io.FileIO):
    """An output file that never blocks: data that cannot be written now is buffered, and dropped after an error.

    `failed` is the first error that is not about a reader that is gone, such as a full disk.
    """

    @classmethod
    def over(cls, fd: int) -> NonBlockingOutput:
        """Open a descriptor. A terminal or a pipe is reopened, because other processes share its O_NONBLOCK flag."""
        if os.isatty(fd) or stat.S_ISFIFO(os.fstat(fd).st_mode):
            with contextlib.suppress(OSError):
                return cls(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY))
        return cls(fd, closefd=False)

    def __init__(self, fd: int, *, closefd: bool = True) -> None:
        super().__init__(fd, "wb", closefd=closefd)
        self._waiting = bytearray()
        self.failed: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        """Buffer the data and write what can be written now."""
        self._waiting += memoryview(data)
        self.flush_pending()
        return memoryview(data).nbytes

    def flush_pending(self) -> bool:
        """Write what can be written now. Return whether the buffer is empty."""
        try:
            while self._waiting and (count := super().write(self._waiting)):
                del self._waiting[:count]
        except OSError as error:
            self._waiting.clear()
            if error.errno not in _READER_IS_GONE:
                self.failed = self.failed or error
        return not self._waiting


def is_behind(stream: IO[Any]) -> bool:
    """Try to write the buffered output of a stream. Return whether some of it is still waiting for the reader."""
    raw = getattr(getattr(stream, "buffer", stream), "raw", None)
    return isinstance(raw, NonBlockingOutput) and not raw.flush_pending()


def _flush_all(stream: IO[Any]) -> None:
    """Wait until the reader has accepted all output."""
    while is_behind(stream):
        select.select([], [stream], [])


@contextlib.contextmanager
def survive_disconnect() -> Iterator[None]:
    """Keep this process running, and not blocked, if its terminal or the reader of its output is gone.

    On exit, it waits until the remaining output is written. A user who has stopped the terminal (Ctrl-S) resumes it
    (Ctrl-Q) or presses Ctrl-C.

    Raises:
        OSError: on exit, if some of the output could not be written, because the disk is full.
    """
    before = sys.stdout, sys.stderr
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    hangup = signal.getsignal(signal.SIGHUP)
    if hangup is signal.SIG_DFL:  # not SIG_IGN, which workers would inherit; under nohup it already is SIG_IGN
        signal.signal(signal.SIGHUP, _ignore)
    streams = sys.stdout, sys.stderr = _non_blocking(sys.stdout), _non_blocking(sys.stderr)
    try:
        yield
        for stream in streams:
            stream.flush()
            _flush_all(stream)
            raw = getattr(getattr(stream, "buffer", stream), "raw", None)
            if isinstance(raw, NonBlockingOutput) and raw.failed is not None:
                raise raw.failed
    finally:
        try:
            for stream in streams:
                stream.flush()
                _flush_all(stream)
        finally:
            sys.stdout, sys.stderr = before
            for stream in {*streams} - {*before}:
                stream.close()
            signal.signal(signal.SIGHUP, hangup)
            signal.signal(signal.SIGTERM, terminate)


def _non_blocking(stream: TextIO | None) -> TextIO:
    """Return a stream that never blocks.

    A stream without a descriptor (in a test) is returned as it is. For a closed stream, output goes to /dev/null.
    """
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(NonBlockingOutput(os.open(os.devnull, os.O_WRONLY))))
    try:
        stream.flush()
        raw = NonBlockingOutput.over(stream.fileno())
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.isatty(),
        write_through=False,
    )


def _ignore(_number: int, _frame: object) -> None:
    """Ignore a signal."""
