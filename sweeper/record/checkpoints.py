"""The checkpoints that a trial has on the disk, as others find them: by their names and by the trial's events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import RecordError
from sweeper.record.events import Checkpointed
from sweeper.record.storage import confined
from sweeper.record.storage.checkpoint_file import NAME
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import TrialDir, unwritable


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCheckpoint:
    """A checkpoint of a trial: the state after `step`, in `file` below the trial's `checkpoints/`.

    `points_to` is the path of a library's own checkpoint from the trial's directory, if `file` only points to it; it is
    empty if it is outside of that directory.
    """

    step: int
    file: str
    points_to: str = ""


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
    targets = {event.file: event.points_to for event in events if isinstance(event, Checkpointed)}
    saved = (
        SavedCheckpoint(step=int(name.split(".")[0].removeprefix("step-")), file=name, points_to=targets.get(name, ""))
        for name in found
    )
    there = [one for one in saved if not one.points_to or (trial.path / one.points_to).exists()]
    return sorted(there, key=lambda one: one.step, reverse=True)


def newest_before(checkpoints: Sequence[SavedCheckpoint], step: int | None) -> SavedCheckpoint | None:
    """Return the newest checkpoint after at most this step; None if there is none. Without a step, the newest."""
    return max((c for c in checkpoints if step is None or c.step <= step), key=lambda c: c.step, default=None)


def take_over(parent: TrialDir, child: TrialDir, file: str) -> bool:
    """Give a checkpoint of a trial to another trial, with what it points to; the files are linked, not copied.

    Args:
        parent: the trial that has the checkpoint.
        child: the trial that is to resume from it. Its directory exists.
        file: the name of the checkpoint.

    Returns:
        Whether the checkpoint still exists.

    Raises:
        Unwritable: the disk is full or gone.
    """
    one = next((one for one in saved_checkpoints(parent) if one.file == file), None)
    if one is None:
        return False
    pairs = [(parent.checkpoints / file, child.checkpoints / file)]
    if one.points_to and not Path(one.points_to).is_absolute() and ".." not in Path(one.points_to).parts:
        pairs.append((parent.path / one.points_to, child.path / one.points_to))
    try:
        for source, target in reversed(pairs):  # the pointer last: it is followed as soon as it is there
            confined.link(source, target)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unwritable(child.checkpoints, error) from error
    return True
