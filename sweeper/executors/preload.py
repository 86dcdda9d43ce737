"""The client of the preload server (`sweeper.worker.process.preload`), which forks the shims of attempts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LARGEST = 1 << 16
ENDS_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 10.0
"""After that attempts are started plainly; a fork that comes later finds its attempt claimed, and ends."""


class Forked:
    """A shim that the server forked: no child of ours, but its pidfd says when it ends, and takes signals."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid = pid
        self._fd = fd
        self._ended = False

    def poll(self) -> int | None:
        """None while it runs. How it ended is not known here, and not needed: that is on the record."""
        if not self._ended and _is_readable(self._fd):
            os.close(self._fd)
            self._ended = True
        return 0 if self._ended else None

    def send_signal(self, number: int) -> None:
        """A signal, to it and to no later process with its pid."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def fileno(self) -> int:
        """Readable once it has ended."""
        return self._fd


class Preloaded:
    """A server that imports what a command's program needs; until it is ready, and where it cannot serve, nobody's.

    `trouble` says why it does not serve, for people.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = json.dumps(list(command))
        self._environment = dict(environment)
        self._start()

    def _start(self) -> None:
        self.trouble = ""
        self._ready = False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(ANSWERS_WITHIN_S)
        self._channel = ours
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "sweeper.worker.process.preload", str(theirs.fileno()), self._command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def serves(self) -> bool:
        """Whether attempts can be forked now."""
        if not self._ready and not self.trouble and _is_readable(self._channel.fileno()):
            message = self._channel.recv(LARGEST)
            self.trouble = json.loads(message)["reason"] if message else "the preloaded process ended while it imported"
            self._ready = not self.trouble
        return self._ready and not self.trouble

    def fork(
        self, trial: Path, attempt: int, command: Sequence[str], environment: Mapping[str, str], output: int
    ) -> Forked | None:
        """The shim of an attempt, in this process's environment and `environment`, which writes to `output`.

        None where the command is no Python program, where the server is gone, and where what it imported has changed
        since: then another one is started, for the attempts to come.
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
            message, fds, _, _ = socket.recv_fds(self._channel, LARGEST, 1)
        except OSError as error:
            self.trouble = f"the preloaded process cannot be reached: {error}"
            return None
        if not message:
            self.trouble = "the preloaded process has ended"
            return None
        answer = json.loads(message)
        if answer.get("changed"):
            self.close()
            self._start()
        return Forked(answer["pid"], fds[0]) if fds else None

    def close(self) -> None:
        """Let the server end; the shims that it forked go on."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.wait(ENDS_WITHIN_S)


def _is_readable(fd: int) -> bool:
    poll = select.poll()  # select(2) takes no descriptor above 1023, and a thousand shims have one each
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
