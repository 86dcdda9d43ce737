"""Why an attempt ended, in one word each."""

from __future__ import annotations

import enum
from signal import Signals, valid_signals


class Cause(enum.StrEnum):
    """The causes of an end."""

    KILLED = "killed"
    """A signal that nobody here sent."""
    LOST = "lost"
    """Its processes, or its device, are gone."""
    HUNG = "hung"
    """No step for longer than `hang_after_s`."""
    OOM = "oom"
    """The system ran out of memory and killed it."""
    NOT_FOUND = "not-found"
    """The command cannot be started."""
    STOPPED = "stopped"
    """It was asked to stop, and did."""
    ERROR = "error"
    """An exception, an exit code, or a signal that a process brings upon itself."""
    CUDA_OOM = "cuda-oom"
    """A device had no memory left for it."""


NOT_STARTED = (126, 127)
"""What env(1) and shells exit with where a command cannot be executed, or is not there."""

_OWN_SIGNALS = frozenset(
    {Signals.SIGSEGV, Signals.SIGABRT, Signals.SIGBUS, Signals.SIGFPE, Signals.SIGILL, Signals.SIGTRAP, Signals.SIGSYS}
)
_SHELL = 128
"""A shell exits with this and the number of the signal that ended its command."""


def cause_of_exit(*, code: int | None, signal: int | None, oom: bool = False) -> str:
    """What the end of a process says of its cause; empty after code 0.

    Args:
        oom: whether the kernel killed for want of memory while the process ran, and nobody here killed it.
    """
    number = signal or (code - _SHELL if code is not None and code > _SHELL else None)
    if number == Signals.SIGKILL and oom:
        return Cause.OOM
    if number in valid_signals():
        return Cause.ERROR if number in _OWN_SIGNALS else Cause.KILLED
    if code in NOT_STARTED:
        return Cause.NOT_FOUND
    return Cause.ERROR if code else ""
