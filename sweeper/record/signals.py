"""The signals that a shim answers, and how its parent keeps them from it until it can.

A new process has the default actions of signals, and most of them would end it. A process inherits the signals that its
parent blocks (sigprocmask(2)), so a shim is started with its signals blocked. Those that arrive early are pending until
the shim has installed its handlers and unblocks them.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable, Iterator

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Each asks the attempt to save a checkpoint and end."""

KILL, DUMP = signal.SIGQUIT, signal.SIGUSR1
"""End all processes of the attempt; have them write their stacks."""

ANSWERED = (*STOPS, KILL, DUMP)
"""All signals that a shim answers."""


@contextlib.contextmanager
def blocked(numbers: Iterable[int] = ANSWERED) -> Iterator[None]:
    """Block signals in this thread, and in the processes that it starts within this context.

    Args:
        numbers: the signals. Those that arrive meanwhile are handled when the context is left.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
