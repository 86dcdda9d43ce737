"""Starts that failed for the moment, such as a fork that the system refuses while there are too many processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.record.storage.layout import AttemptDir
from sweeper.record.values.command_line import MOMENTARY

RETRY_EVERY_S = 5.0


@dataclass(slots=True)
class PostponedStarts:
    """Starts attempts, and starts again those that could not be started for the moment.

    Attributes:
        troubles: messages for the user, each once, as the keys of a dictionary.
    """

    troubles: dict[str, None] = field(default_factory=dict)
    _waiting: dict[Path, tuple[float, Callable[[], None]]] = field(default_factory=dict)

    def start(self, attempt: AttemptDir, start: Callable[[], None]) -> None:
        """Start an attempt now, or else later.

        Raises:
            OSError: it cannot be started, and will not be able to.
        """
        try:
            start()
        except OSError as error:
            if error.errno not in MOMENTARY:
                raise
            self._waiting[attempt.path] = time.monotonic() + RETRY_EVERY_S, start
            why = f"{error.strerror}; it is tried again every {RETRY_EVERY_S:g} s"
            self.troubles[f"Trial {attempt.trial.path.name} cannot be started for the moment: {why}"] = None

    def has(self, attempt: AttemptDir) -> bool:
        """Return whether an attempt waits for its start; start it again if that is due."""
        if attempt.path not in self._waiting:
            return False
        due, start = self._waiting[attempt.path]
        if time.monotonic() >= due:
            del self._waiting[attempt.path]
            self.start(attempt, start)
        return True

    def drop(self, attempt: AttemptDir) -> bool:
        """Forget the start of an attempt. Return whether it had waited."""
        return self._waiting.pop(attempt.path, None) is not None
