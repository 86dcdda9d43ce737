"""The checkpoints that a trial has on the disk, as others find them: by their names and by the trial's events."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from sweeper.errors import RecordError
from sweeper.record.events import Checkpointed
from sweeper.record.facts import Facts
from sweeper.record.storage import confined
from sweeper.record.storage.checkpoint_file import NAME
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, unwritable

_ANY = TrialDir(Path("0000"))
RECORD = frozenset(path.name for path in (_ANY.facts, _ANY.control, _ANY.attempt(1).path.parent, _ANY.checkpoints))
"""What sweeper itself writes into the directory of a trial: no checkpoint of a library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint of a trial: the state after `step`, in `file` below the trial's `checkpoints/`.

    `points_to` is the path of a library's own checkpoint from the trial's directory, if `file` only points to it.
    """

    step: int
    file: str
    points_to: str = ""

    @property
    def is_outside(self) -> bool:
        """Whether the library's own checkpoint lies outside of the trial's directory, by its path alone."""
        path = PurePath(self.points_to)
        return path.is_absolute() or ".." in path.parts

    @property
    def is_inside(self) -> bool:
        """Whether the library's own checkpoint lies in the trial's directory, and is no part of its record."""
        parts = PurePath(self.points_to).parts
        return bool(parts) and not self.is_outside and parts[0] not in RECORD


def saved_checkpoints(trial: TrialDir) -> list[SavedCheckpoint]:
    """Return the checkpoints from which a trial could resume, newest first.

    Those that point to a library's own checkpoint which was deleted are left out.

    Raises:
        RecordError: the folder of the checkpoints cannot be read.
    """
    try:
        found = [name for name in confined.listed(trial.checkpoints) if NAME.fullmatch(name)]
    except OSError as error:
        raise RecordError(f"{trial.checkpoints}: expected a folder of checkpoints, got: {error.strerror}") from error
    events = [event for attempt in trial.attempts() for event in read_journal(attempt.events)] if found else []
    targets = {**_taken(trial), **{one.file: one.points_to for one in events if isinstance(one, Checkpointed)}}
    saved = (
        SavedCheckpoint(step=int(name.split(".")[0].removeprefix("step-")), file=name, points_to=targets.get(name, ""))
        for name in found
    )
    return sorted((one for one in saved if _is_there(trial, one)), key=lambda one: one.step, reverse=True)


def _taken(trial: TrialDir) -> dict[str, str]:
    """Return what the checkpoint points to that a derived trial has taken over: no event of the trial says so."""
    try:
        derived = Facts.read(trial).derived
    except RecordError:  # readers of the trial say what is wrong
        return {}
    return {} if derived is None else {derived.checkpoint: derived.points_to}


def _is_there(trial: TrialDir, one: SavedCheckpoint) -> bool:
    """Return whether a checkpoint is a file, and what it points to exists; inside the trial, no link is followed."""
    try:
        confined.kind_of(trial.checkpoints / one.file, (stat.S_ISREG,))
        if one.is_outside:  # a script may let its library write elsewhere
            return os.path.exists(trial.path / one.points_to)  # noqa: PTH110 - it takes any text for a path
        if one.is_inside:
            confined.kind_of(trial.path / one.points_to, (stat.S_ISREG, stat.S_ISDIR))
    except (OSError, ValueError):
        return False
    return one.is_inside or not one.points_to


def newest_before(checkpoints: Sequence[SavedCheckpoint], step: int | None) -> SavedCheckpoint | None:
    """Return the newest checkpoint after at most this step; None if there is none. Without a step, the newest."""
    return max((c for c in checkpoints if step is None or c.step <= step), key=lambda c: c.step, default=None)


def take_over(parent: TrialDir, child: TrialDir, file: str) -> SavedCheckpoint | None:
    """Give a checkpoint of a trial to another trial, with what it points to; the files are linked, not copied.

    Args:
        parent: the trial that has the checkpoint.
        child: the trial that is to resume from it, in this run or another one. Its directory exists.
        file: the name of the checkpoint.

    Returns:
        The checkpoint; None if it does not exist any more, or is not what a trial writes: files and folders, no links.

    Raises:
        Unwritable: the disk is full or gone.
    """
    try:
        one = next((one for one in saved_checkpoints(parent) if one.file == file), None)
    except RecordError:
        return None
    if one is None:
        return None
    pairs = [(parent.checkpoints / file, child.checkpoints / file)]
    if one.is_inside:
        pairs.append((parent.path / one.points_to, child.path / one.points_to))
    for source, target in reversed(pairs):  # the pointer last: it is followed as soon as it is there
        try:
            confined.link(source, target)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise unwritable(child.checkpoints, error) from error
    return one


_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, *confined.NO_FILE})
"""The errors of a checkpoint that was deleted, or in the place of which something else stands."""
