"""A terminal with a shell in it, as a person has one: what is typed, and what there is to be seen."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE_S = 100.0


class Terminal:
    """bash with job control on a pseudo-terminal of its own; `shown` is all that was written to it, as it came."""

    def __init__(
        self, folder: Path, *, columns: int = 100, lines: int = 30, env: Mapping[str, str] | None = None
    ) -> None:
        self.shown = ""
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            cwd=folder,
            env={**os.environ, "PS1": "$ ", "TERM": "xterm", **(env or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - nothing else runs in the child
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._ours)  # the shell is told by a hang-up
        self._shell.wait(timeout=DEADLINE_S)

    def type(self, text: str) -> None:
        """Type it; `\\x03` is Ctrl-C, `\\x1a` is Ctrl-Z."""
        os.write(self._ours, text.encode())

    def look(self) -> str:
        """All that was shown by now."""
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self.shown += os.read(self._ours, 65_536).decode(errors="replace")
            except OSError:
                break
        return self.shown

    def wait_for(self, text: str, *, since: int = 0) -> int:
        """Until a text is shown behind `since`; returns where it ends."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := self.look().find(text, since)) < 0:
            assert time.monotonic() < deadline, f"expected {text!r}, saw:\n{self.shown[since:][-3000:]}"
            time.sleep(0.02)
        return found + len(text)

    def modes(self) -> set[str]:
        """What stty says of the terminal, asked in the shell: `icanon` or `-icanon`, and so on."""
        begin = len(self.look())
        self.type("stty -a; echo the're'\n")
        self.wait_for("there", since=begin)
        return set(self.shown[begin:].replace(";", " ").split())


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
