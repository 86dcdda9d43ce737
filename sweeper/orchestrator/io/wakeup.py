"""What the loop sleeps until: signals, ends of attempts, or the next look."""

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


class Waking:
    """While this context is entered, SIGINT and SIGTERM are counted as `interrupts`, and SIGCHLD only wakes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.interrupts = 0
        self._say = say
        self._wake, self._awake = -1, -1
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Self:
        self._wake, self._awake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = {signal.SIGINT: self._on_interrupt, signal.SIGTERM: self._on_interrupt, signal.SIGCHLD: _nothing}
        self._previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.set_wakeup_fd(self._awake, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal() gave it
        os.close(self._wake)
        os.close(self._awake)

    def sleep(self, ends: Iterable[int | HasFileno] = ()) -> bool:
        """Until a signal or an end comes, at most until the next look is due; whether one came."""
        poll = select.poll()  # select(2) takes no descriptor above 1023, and a thousand workers have one each
        for fd in (self._wake, *ends):
            poll.register(fd, select.POLLIN)
        woken = [fd for fd, _ in poll.poll(1000 * LONGEST_SLEEP_S)]
        if self._wake in woken:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake, 1024):
                    pass
        return bool(woken)

    def interrupt(self) -> None:
        """Count as interrupted, once, as if a signal had come."""
        if not self.interrupts:
            self._on_interrupt(signal.SIGINT, None)

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupts += 1
        again = "once more to kill the workers" if self.interrupts == 1 else "killing the workers"
        self._say(f"stopping: running trials save a checkpoint and end; {again}")


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Take a signal that only has to wake the loop."""
