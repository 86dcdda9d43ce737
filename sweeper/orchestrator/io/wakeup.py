"""Let the loop sleep until a signal arrives, an attempt ends, or the next tick is due."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Self

from sweeper.executors.executor import HasFileno

LONGEST_SLEEP_S = 0.25


class Wakeup:
    """A context in which signals end the sleep of the loop.

    SIGINT and SIGTERM are counted as `interrupts`; SIGCHLD only wakes the loop.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.interrupts = 0
        self._say = say
        self._read_end, self._write_end = -1, -1
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGINT: self._on_interrupt, signal.SIGTERM: self._on_interrupt, signal.SIGCHLD: _nothing}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # the value that signal() returned
        os.close(self._read_end)
        os.close(self._write_end)

    def sleep(self, descriptors: Iterable[int | HasFileno] = ()) -> bool:
        """Sleep until a signal arrives or a descriptor is readable, at most `LONGEST_SLEEP_S`.

        Returns:
            Whether one of them ended the sleep.
        """
        poll = select.poll()  # select(2) takes no descriptor above 1023, and a thousand workers have one each
        for fd in (self._read_end, *descriptors):
            poll.register(fd, select.POLLIN)
        readable = [fd for fd, _ in poll.poll(1000 * LONGEST_SLEEP_S)]
        if self._read_end in readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read_end, 1024):
                    pass
        return bool(readable)

    def interrupt(self) -> None:
        """Count an interrupt as if a signal had arrived; do nothing if the sweep is interrupted already."""
        if not self.interrupts:
            self._on_interrupt(signal.SIGINT, None)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1
        if self.interrupts == 1:
            # Short enough for the live table at 80 columns.
            self._say("Stopping: trials save a checkpoint and exit. Interrupt once more to kill them")
        else:
            self._say("Killing the workers: what they did since their last checkpoint is lost")


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal that only has to wake the loop."""
