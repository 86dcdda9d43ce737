"""Read single keys from a terminal, without echo, while this process is in the foreground; restore it afterwards.

Ctrl-C remains a signal. Ctrl-Z restores the terminal and suspends the process; keys are read again once it resumes.
After SIGKILL the terminal is not restored here; shells such as bash and zsh restore it themselves.
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
"""Names of the keys by the characters that they send; any other key is named by its character."""


class Keyboard:
    """Reads the keys of a terminal on a descriptor; `on_suspend` and `on_resume` are called around a Ctrl-Z."""

    def __init__(self, fd: int, *, on_suspend: Callable[[], None], on_resume: Callable[[], None]) -> None:
        self._fd = fd
        self._on_suspend, self._on_resume = on_suspend, on_resume
        self._before: list[Any] | None = None
        self._is_asked_to_suspend = self._has_resumed = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers = {signal.SIGTSTP: self._handle_suspend, signal.SIGCONT: self._handle_resume}
        self._handlers = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        self._set_raw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def filenos(self) -> tuple[int, ...]:
        """Return the descriptors that become readable when a key is pressed."""
        return (self._fd,) if self._before is not None and self._is_in_front() else ()

    def pressed(self) -> list[str]:
        """Return the keys pressed since the last call, without waiting. Suspends the process after a Ctrl-Z."""
        if self._is_asked_to_suspend:
            self._suspend()
        if self._has_resumed:
            self._has_resumed = False
            self._on_resume()
            self._set_raw(force=True)
        if self._before is None:
            self._set_raw()  # the process was in the background
        if not self.filenos() or not select.select([self._fd], [], [], 0)[0]:
            return []
        try:
            text = os.read(self._fd, 1024).decode(errors="replace")
        except OSError:  # the terminal is gone
            text = ""
        if not text:
            self._before = None
        return _keys(text)

    def _set_raw(self, *, force: bool = False) -> None:
        """Have the terminal send each key without echo; only in the foreground, else SIGTTOU would stop the process."""
        if (self._before is not None and not force) or not self._is_in_front():
            return
        with contextlib.suppress(termios.error, OSError):
            before = termios.tcgetattr(self._fd)
            raw = list(before)
            raw[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._fd, termios.TCSANOW, raw)  # not TCSADRAIN, which blocks on a stopped terminal
            self._before = before if self._before is None else self._before

    def _restore(self) -> None:
        if self._before is not None and self._is_in_front():
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        self._before = None

    def _is_in_front(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def _suspend(self) -> None:
        self._is_asked_to_suspend = False
        self._on_suspend()
        self._restore()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # the process is suspended here until the user types `fg` or `bg`
        signal.signal(signal.SIGTSTP, handler)
        self._has_resumed = True

    def _handle_suspend(self, _number: int, _frame: FrameType | None) -> None:
        self._is_asked_to_suspend = True

    def _handle_resume(self, _number: int, _frame: FrameType | None) -> None:
        self._has_resumed = True


def _keys(text: str) -> list[str]:
    """Return the names of the keys in a text of escape sequences and single characters."""
    found: list[str] = []
    sequences = sorted((key for key in KEYS if len(key) > 1), key=len, reverse=True)
    while text:
        known = next((key for key in sequences if text.startswith(key)), text[0])
        if known == "\x1b" and len(text) > 1:  # an unknown escape sequence is ignored
            return found
        found.append(KEYS.get(known, known))
        text = text[len(known) :]
    return found
