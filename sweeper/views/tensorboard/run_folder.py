"""The folder of one TensorBoard run: event files that one writer appends to, and how far the record is projected.

1. A process that takes the folder over begins a new event file, so a torn record at the end of the last one hides
   nothing: TensorBoard goes on with the next file by name.
2. The position is written after the events it speaks of. What stands behind it in the last file, from a process that
   died in between, is cut off when the folder is opened, and projected again.
3. Where position and files do not fit each other, the folder is emptied and everything is projected anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event

from sweeper.views.tensorboard.summaries import file_version, framed

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a trial is projected.

    `events` of attempt `attempt` are; the next figure is due at step `next_figure`, the last was drawn at `drawn`;
    the end of attempt `ended` is written (0: none). `health` counts the changes of health that the newest text shows.
    `file` counts event files, `size` is the length of the last one.
    """

    attempt: int = 0
    events: int = 0
    next_figure: int = 0
    drawn: int = -1
    ended: int = 0
    health: int = 0
    file: int = 0
    size: int = 0
    format: int = FORMAT


class RunFolder:
    """Appends events to a run; `position` is what was on disk when it was opened, and what `commit` wrote since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh_file = True
        self.position = self._recovered()

    @property
    def lost(self) -> bool:
        """Whether somebody took away what was written here."""
        return self.position.attempt > 0 and not self._position_file.exists()

    def begin_file(self) -> None:
        """Put what comes next into a new event file."""
        self._fresh_file = True

    def empty(self) -> None:
        """Forget everything; file names are not used again, for a TensorBoard that has the old ones open."""
        for path in self._path.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
        self._position_file.unlink(missing_ok=True)
        self.position = Position(file=self.position.file)
        self._fresh_file = True

    def commit(self, events: Sequence[Event], position: Position) -> None:
        """Append the events, then note the position; file and size are filled in here."""
        if events:
            position = self._append(events, position)
        self._path.mkdir(parents=True, exist_ok=True)
        # No fsync: after a power failure the sizes do not fit, and the folder is projected anew.
        temporary = self._position_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(dataclasses.asdict(position)))
        temporary.replace(self._position_file)
        self.position = position

    def _append(self, events: Sequence[Event], position: Position) -> Position:
        self._path.mkdir(parents=True, exist_ok=True)
        number, size = self.position.file, self.position.size
        data = b"".join(framed(event) for event in events)
        if self._fresh_file:
            number, size = number + 1, 0
            data = framed(file_version(events[0].wall_time)) + data
        with self._file(number).open("ab" if size else "wb") as file:
            file.write(data)
        self._fresh_file = False
        return replace(position, file=number, size=size + len(data))

    @property
    def _position_file(self) -> Path:
        return self._path / ".position.json"

    def _file(self, number: int) -> Path:
        # TensorBoard reads the files of a run in the order of their names.
        return self._path / f"events.out.tfevents.{number:010d}.sweeper"

    def _recovered(self) -> Position:
        """The position on disk, once the files fit it."""
        try:
            position = Position(**json.loads(self._position_file.read_text()))
            if position.format == FORMAT and self._cut(position):
                return position
        except (OSError, ValueError, TypeError):
            pass
        self.position = Position(file=self._newest())
        self.empty()
        return self.position

    def _cut(self, position: Position) -> bool:
        """Whether the last file holds what the position says; what it holds beyond that is cut off."""
        for path in self._path.glob("events.out.tfevents.*"):
            if path > self._file(position.file):
                path.unlink()
        if not position.file:
            return True
        with self._file(position.file).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
        if size > position.size:
            os.truncate(self._file(position.file), position.size)
        return size >= position.size

    def _newest(self) -> int:
        numbers = [0]
        for path in self._path.glob("events.out.tfevents.*.sweeper"):
            with contextlib.suppress(ValueError):
                numbers.append(int(path.name.split(".")[3]))
        return max(numbers)
