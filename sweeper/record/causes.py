"""The causes of the end of an attempt, in one word each."""

from __future__ import annotations

import enum
from signal import Signals, valid_signals


class Cause(enum.StrEnum):
    """Why an attempt ended."""

    KILLED = "killed"
    """A signal that sweeper did not send ended it."""
    LOST = "lost"
    """Its processes or its device are gone."""
    HUNG = "hung"
    """It took no step for longer than `hang_after_s`."""
    OOM = "oom"
    """The operating system ran out of memory and killed it."""
    NOT_FOUND = "not-found"
    """Its command cannot be started."""
    STOPPED = "stopped"
    """It was asked to stop and did so, with or without the help of its script."""
    ERROR = "error"
    """An exception, an exit code, or a signal that a process causes itself, such as SIGSEGV."""
    CUDA_OOM = "cuda-oom"
    """A device ran out of memory."""
    DAMAGED = "damaged"
    """It ended, but `exit.json`, which has the cause, is damaged."""


NOT_STARTED = (126, 127)
"""The exit codes of env(1) and of shells where a command cannot be executed or is not found."""

_OWN_SIGNALS = frozenset(
    {Signals.SIGSEGV, Signals.SIGABRT, Signals.SIGBUS, Signals.SIGFPE, Signals.SIGILL, Signals.SIGTRAP, Signals.SIGSYS}
)
_SIGNALS = frozenset(map(int, valid_signals()))
"""The numbers of all signals. Each call of `valid_signals` makes an enum member for each of them."""
_SHELL = 128
"""A shell exits with this plus the number of the signal that ended its command."""


def signal_of_code(code: int | None) -> int | None:
    """Return the signal that an exit code stands for if a shell ran the command, such as 143 for SIGTERM; else None."""
    number = 0 if code is None else code - _SHELL
    return number if number in _SIGNALS else None


def cause_of_exit(*, code: int | None, signal: int | None, oom: bool = False) -> str:
    """Return the cause that the exit code or signal of a process shows; empty after code 0.

    Args:
        code: the exit code, None where a signal ended the process.
        signal: the number of that signal, None otherwise.
        oom: whether the kernel killed a process for lack of memory meanwhile, and sweeper did not kill this one.
    """
    number = signal or signal_of_code(code)
    if number == Signals.SIGKILL and oom:
        return Cause.OOM
    if number in _SIGNALS:
        return Cause.ERROR if number in _OWN_SIGNALS else Cause.KILLED
    if code in NOT_STARTED:
        return Cause.NOT_FOUND
    return Cause.ERROR if code else ""
