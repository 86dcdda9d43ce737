"""Keys from a terminal, one at a time and unechoed, while this process is in its foreground; all is put back after.

Ctrl-C stays a signal. Ctrl-Z puts the terminal back, then stops the process; on its return the keys are taken again.
What a kill (SIGKILL) leaves is the shell's to mend: bash and zsh do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any, Self

KEYS: Mapping[str, str] = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
    "q": "escape",
}
"""What keys send, and what they are called; any other is called by its character."""


class Keyboard:
    """The keys of the terminal on a descriptor; `stopping` and `going_on` are called around a Ctrl-Z."""

    def __init__(self, fd: int, *, stopping: Callable[[], None], going_on: Callable[[], None]) -> None:
        self._fd = fd
        self._stopping, self._going_on = stopping, going_on
        self._before: list[Any] | None = None
        self._asked_to_stop = self._gone_on = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        taken = {signal.SIGTSTP: self._on_stop, signal.SIGCONT: self._on_going_on}
        self._handlers = {number: signal.signal(number, handler) for number, handler in taken.items()}
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def filenos(self) -> tuple[int, ...]:
        """What can be slept on until a key comes."""
        return (self._fd,) if self._before is not None and self._is_in_front() else ()

    def pressed(self) -> list[str]:
        """The keys that were pressed since; never waits. Here, and not within a signal, Ctrl-Z is obeyed."""
        if self._asked_to_stop:
            self._stop()
        if self._gone_on:
            self._gone_on = False
            self._going_on()
            self._take(anew=True)
        if self._before is None:
            self._take()  # it was in the background
        if not self.filenos() or not select.select([self._fd], [], [], 0)[0]:
            return []
        try:
            text = os.read(self._fd, 1024).decode(errors="replace")
        except OSError:  # the terminal is gone
            text = ""
        if not text:
            self._before = None
        return _keys(text)

    def _take(self, *, anew: bool = False) -> None:
        """Have keys as they come, where this process is in front; else it would be stopped for that (SIGTTOU)."""
        if (self._before is not None and not anew) or not self._is_in_front():
            return
        with contextlib.suppress(termios.error, OSError):
            before = termios.tcgetattr(self._fd)
            raw = list(before)
            raw[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._fd, termios.TCSANOW, raw)  # not DRAIN: a stopped terminal (Ctrl-S) holds nobody
            self._before = before if self._before is None else self._before

    def _put_back(self) -> None:
        if self._before is not None and self._is_in_front():
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self._before = None

    def _is_in_front(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def _stop(self) -> None:
        self._asked_to_stop = False
        self._stopping()
        self._put_back()
        ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # here it stands still, until somebody says `fg` or `bg`
        signal.signal(signal.SIGTSTP, ours)
        self._gone_on = True

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_stop = True

    def _on_going_on(self, _number: int, _frame: FrameType | None) -> None:
        self._gone_on = True


def _keys(text: str) -> list[str]:
    """What was pressed: sequences that begin with an escape, and single characters."""
    found: list[str] = []
    sequences = sorted((key for key in KEYS if len(key) > 1), key=len, reverse=True)
    while text:
        known = next((key for key in sequences if text.startswith(key)), text[0])
        if known == "\x1b" and len(text) > 1:  # one that is not known here is no key
            return found
        found.append(KEYS.get(known, known))
        text = text[len(known) :]
    return found
