"""The tree of errors, with one class for each thing that a caller would do next.

SweeperError            any expected error; the command line prints its text, without a traceback
  UsageError            the command is wrong: call it differently                        (exit 2)
    SpecError           the sweep file has mistakes: correct the file                    (exit 2)
    SpecChanged         the file no longer fits the run: rename the sweep, or undo       (exit 2)
    ExtraMissing        an optional library is missing: install its extra                (exit 2)
  RunBusy               the sweep is already running: wait, or stop it                   (exit 2)
  RecordError           a record cannot be read: look at the file in the message         (exit 2)
  Unwritable            a record cannot be written: free disk space, and run again       (exit 2)
  AttemptClaimed        the attempt was started before: do not start it again
  DataUnavailable       a data source is unavailable: use the next one
  CheckpointError       a checkpoint cannot be used: use the previous one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SweeperError(Exception):
    """The root of all errors of sweeper. Its text is a complete message for a user."""


class UsageError(SweeperError):
    """The command line, or an argument of the trial API, is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a user's file.

    Attributes:
        where: the place, such as `sweep.yaml:7` or `command line: lr=x`.
        key: the path of the key, such as `parameters.lr.max`; empty if the mistake concerns the whole place.
        expected: what was expected there.
        got: what was found instead.
        hint: what to do; empty if `expected` makes it obvious.
    """

    where: str
    key: str
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.where}: {key}expected {self.expected}, got {self.got}{hint}"


MOST_SHOWN = 100
"""Maximum number of mistakes that the text of an error lists."""


class SpecError(UsageError):
    """A sweep file has mistakes. All of them are in ``mistakes``."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in self.mistakes[:MOST_SHOWN]]
        more = len(self.mistakes) - MOST_SHOWN
        super().__init__("\n".join([*lines, f"and {more:,} more mistakes"] if more > 0 else lines))


class SpecChanged(UsageError):
    """The sweep file would change trials that have already run."""


class ExtraMissing(UsageError):
    """A library that only one of sweeper's extras installs is missing."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(f'{what} needs {library}, which is not installed. Run: pip install "sweeper[{extra}]"')


class RunBusy(SweeperError):
    """The sweep is already running: another orchestrator holds the run's lease."""


class RecordError(SweeperError):
    """A record, or a file that belongs to it, is missing or cannot be understood."""


class Unwritable(SweeperError, OSError):
    """A record cannot be written: its disk is full, read-only or gone. Everything recorded before is kept."""


class AttemptClaimed(SweeperError):
    """Another process has already started the attempt."""


class DataUnavailable(SweeperError):
    """A dataset, a tokenizer or pretrained weights are not available on this machine."""


class CheckpointError(SweeperError):
    """A checkpoint is missing, truncated or altered."""
