"""The tree of errors: one leaf for each thing a caller would do next.

SweeperError            anything sweeper says no to; the command line prints it and exits, no traceback
  UsageError            the command is wrong: call it differently            (exit 2)
    SpecError           the sweep file is wrong: mend the file               (exit 2)
    SpecChanged         the file no longer fits the run: rename, or undo     (exit 2)
    ExtraMissing        an optional library is missing: install its extra    (exit 2)
  RunBusy               another orchestrator holds the run: wait, or stop it (exit 2)
  RecordError           a record cannot be read: look at the named file      (exit 2)
  Unwritable            a record cannot be written: make room, call again    (exit 2)
  AttemptClaimed        this attempt was started before: do not run it again
  DataUnavailable       a data source cannot be had: use the next one
  CheckpointError       a checkpoint cannot be used: use the one before it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SweeperError(Exception):
    """The root; its text is one or more complete sentences for a person."""


class UsageError(SweeperError):
    """The command line cannot be carried out as given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a sweep file: where, what was expected, what came and, where it helps, what to do."""

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
"""Mistakes that the text of an error lists; a person mends the first ones and looks again."""


class SpecError(UsageError):
    """A sweep file with mistakes, all of them in ``mistakes``."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        lines = [str(mistake) for mistake in self.mistakes[:MOST_SHOWN]]
        more = len(self.mistakes) - MOST_SHOWN
        super().__init__("\n".join([*lines, f"and {more:,} more mistakes"] if more > 0 else lines))


class SpecChanged(UsageError):
    """The file would change trials that have already run."""


class ExtraMissing(UsageError):
    """A library that only one of sweeper's extras installs is missing."""

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(f'{what} needs {library}, which is not installed. Run: pip install "sweeper[{extra}]"')


class RunBusy(SweeperError):
    """Another orchestrator holds the run's lease."""


class RecordError(SweeperError):
    """A record, or a file it needs, is missing or cannot be understood."""


class Unwritable(SweeperError, OSError):
    """A record cannot be written: its disk is full, read-only or gone. What was recorded before stands."""


class AttemptClaimed(SweeperError):
    """The attempt was already started by somebody else."""


class DataUnavailable(SweeperError):
    """A dataset or tokenizer cannot be had here."""


class CheckpointError(SweeperError):
    """A checkpoint is missing, truncated or altered."""
