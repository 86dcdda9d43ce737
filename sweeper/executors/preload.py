"""The client of the preload process (`sweeper.worker.process.preload`), which forks the shims of attempts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.executors.python import run_module

MAX_MESSAGE_BYTES = 1 << 16
END_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
"""After this time attempts start without preloading. A fork that comes later finds its attempt claimed, and ends."""


class ForkedShim:
    """A shim that the preload process forked. It is not a child of this process, but its pidfd reports its end."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd
        self._ended = False

    def poll(self) -> int | None:
        """Return None while the shim runs, then 0. How it ended is not known here; the record has that."""
        if not self._ended and _is_readable(self._fd):
            os.close(self._fd)
            self._ended = True
        return 0 if self._ended else None

    def send_signal(self, number: int) -> None:
        """Send a signal to the shim, never to a later process with its pid."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def fileno(self) -> int:
        """Return the pidfd, which is readable once the shim has ended."""
        return self._fd


class PreloadServer:
    """A process that imports what the program of a command imports, then forks shims on request.

    Attributes:
        trouble: Why it cannot fork shims, for users; empty if it can, or if it is still importing.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the process, without waiting until it is ready.

        Args:
            command: The command of the attempts to come.
            environment: The environment of the process.
        """
        self._command = json.dumps(list(command))
        self._environment = dict(environment)
        self._start()

    def _start(self) -> None:
        self.trouble = ""
        self._ready = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(ANSWER_TIMEOUT_S)
        self._channel = ours
        with theirs:
            self._server = subprocess.Popen(
                run_module("sweeper.worker.process.preload", str(theirs.fileno()), self._command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def is_ready(self) -> bool:
        """Whether attempts can be forked now."""
        if not self._ready and not self.trouble and _is_readable(self._channel.fileno()):
            message = self._channel.recv(MAX_MESSAGE_BYTES)
            self.trouble = json.loads(message)["reason"] if message else "the preload process ended during its imports"
            self._ready = not self.trouble
        return self._ready and not self.trouble

    def fork(
        self, trial: Path, attempt: int, command: Sequence[str], environment: Mapping[str, str], output: int
    ) -> ForkedShim | None:
        """Fork the shim of an attempt.

        If a file that the preload process imported has changed since, a new process is started for later attempts.

        Args:
            trial: The directory of the trial, absolute.
            attempt: The number of the attempt.
            command: The command of the trial.
            environment: Variables in addition to those of this process.
            output: The file descriptor for standard output and error.

        Returns:
            The shim; None if the command is not a Python program, the preload process is gone, or an imported file has
            changed.
        """
        request = {
            "trial": str(trial),
            "attempt": attempt,
            "command": list(command),
            "environment": {**os.environ, **environment},
            "folder": str(Path.cwd()),
        }
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [output])
            message, fds, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE_BYTES, 1)
        except OSError as error:
            self.trouble = f"the preload process does not respond: {error}"
            return None
        if not message:
            self.trouble = "the preload process has ended"
            return None
        answer = json.loads(message)
        if answer.get("changed"):
            self.close()
            self._start()
        return ForkedShim(answer["pid"], fds[0]) if fds else None

    def close(self) -> None:
        """Let the process end. The shims that it forked continue."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(END_TIMEOUT_S)


def _is_readable(fd: int) -> bool:
    poll = select.poll()  # select(2) accepts no descriptor above 1023, and each of a thousand shims has one
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
