"""Send a signal at a named point of a launch, in the process that is at that point or in its shim.

Python executes this file at its start where this folder is on PYTHONPATH. An audit hook (PEP 578) sees what the process
does from then on, so that the code under test has no part in this. The environment of the attempt has the point and the
signal:

- POINT: `ROLE EVENT TEXT`: the role of the process (`shim` or `worker`), an audit event, and a part of its first
  argument, or with a slash in front the name of a file. The event `start` is the execution of this file. With the role
  `worker>shim`, the worker signals its shim.
- POINT_SIGNAL: the number of the signal.
- POINT_MARK: a file that does not exist; the signal is sent once, by the process that creates it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SHIM, SERVER = "sweeper.worker.process.shim", "sweeper.worker.process.preload"
STARTED_AS = SHIM if SHIM in sys.orig_argv else SERVER if SERVER in sys.orig_argv else ""
PID = os.getpid()


def role() -> str:
    """The role of this process: a server that has imported what scripts import forks shims, and these fork workers."""
    if STARTED_AS == SERVER:
        return "" if os.getpid() == PID else "shim" if os.getppid() == PID else "worker"
    return "shim" if STARTED_AS == SHIM else "worker" if "SWEEPER_ATTEMPT" in os.environ else ""


def environment() -> Mapping[str, str]:
    """That of the attempt: a forked shim has only the request for it at first."""
    frame: Any = sys._getframe()
    while STARTED_AS == SERVER and frame is not None:
        request = frame.f_locals.get("request")
        if isinstance(request, dict) and "environment" in request:
            return request["environment"]  # type: ignore[no-any-return]
        frame = frame.f_back
    return os.environ


def matches(text: str, argument: str) -> bool:
    """Whether an argument contains a text; of one that begins with a slash, whether it is the name of the file.

    A file may be opened by its name in a folder that is open already. The name of a temporary file is longer.
    """
    if not text.startswith("/"):
        return text in argument
    name = argument.rpartition("/")[2]
    return name.startswith(text[1:]) if text.startswith("/.") else argument == text or name == text[1:]


class Hook:
    """The audit hook. What it does itself raises events too, which it skips."""

    def __init__(self) -> None:
        self.busy = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.busy:
            return
        self.busy = True
        try:
            self.look(event, str(arguments[0]) if arguments else "")
        finally:
            self.busy = False

    def look(self, event: str, argument: str) -> None:
        given = environment()
        point = given.get("POINT", "").split()
        if not point or event != point[1] or not role():
            return
        expected, _, target = point[0].partition(">")
        if expected != role() or (len(point) > 2 and not matches(point[2], argument)):
            return
        try:
            os.close(os.open(given["POINT_MARK"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getppid() if target else os.getpid(), int(given["POINT_SIGNAL"]))


if os.environ.get("POINT") or STARTED_AS == SERVER:
    hook = Hook()
    hook("start", ())
    sys.addaudithook(hook)
