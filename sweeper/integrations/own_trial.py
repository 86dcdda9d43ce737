"""The trial of a callback: the one that it was given, or else the one that it opens."""

from __future__ import annotations

from sweeper.errors import UsageError
from sweeper.worker.opening import start
from sweeper.worker.trial import Trial


class OwnTrial:
    """The trial of one callback. Without a given trial, it is that of the process, opened when it is first needed.

    Creating a callback opens nothing: a configuration may create callbacks in processes that do not train.

    Raises:
        UsageError: what was given is no open trial.
    """

    def __init__(self, given: Trial | None, callback: str) -> None:
        if given is not None and not isinstance(given, Trial):
            raise UsageError(
                f"{callback}(...): expected an open trial, as in `with sweeper.trial() as trial: {callback}(trial)`, "
                f"or nothing, got {given!r}"
            )
        self._given = given
        self._opened: Trial | None = None

    def open(self) -> Trial:
        """Return the trial of a training that begins. It is opened with `start` if none is open."""
        if self._given is not None:
            return self._given
        self._opened = start()
        return self._opened

    @property
    def known(self) -> Trial | None:
        """The trial that was given or opened, or None."""
        return self._given or self._opened

    @property
    def trial(self) -> Trial:
        """The trial, opened if it was not needed before."""
        return self.known or self.open()
