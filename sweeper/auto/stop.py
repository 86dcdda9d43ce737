"""Agree with the other ranks on the step after which to stop, without communication that the script does not expect.

Ranks that average gradients are never more than one step apart: no rank can end a step before all have begun it. So
rank 0 writes the number of a step that none has reached, and each rank stops after it.
"""

from __future__ import annotations

from contextlib import suppress

from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir, write_atomically
from sweeper.worker.ranks import several_ranks

AHEAD = 2
"""The step that rank 0 chooses is so many steps after its own."""


class StopPoint:
    """The step after which this process stops."""

    def __init__(self, attempt: AttemptDir, *, is_first: bool) -> None:
        self._file = attempt.stop_after
        self._is_first = is_first
        self._step: int | None = None

    def reached(self, step: int) -> bool:
        """Whether the process should stop after this step, given that it was asked to stop."""
        if not several_ranks():
            return True
        if self._step is None and self._is_first:
            self._step = step + AHEAD
            write_atomically(self._file, f"{self._step}\n".encode())
        if self._step is None:
            with suppress(OSError, ValueError):
                self._step = int(confined.read_bytes(self._file))
        return self._step is not None and step >= self._step


STOPPED = 128 + 15
"""Exit code of a script that was stopped, as of a process that SIGTERM ended: `train && evaluate` must not continue."""


def leave() -> None:
    """End the script after the current step: `finally` blocks and exit handlers run.

    Raises:
        SystemExit: always.
    """
    raise SystemExit(STOPPED)
