"""The folder of one TensorBoard run: its event files, and the position up to which the record is written to them.

1. A process that takes over the folder begins a new event file, so a torn event at the end of the last file hides
   nothing: TensorBoard continues with the next file by name.
2. The position is written after its events. Events after the position, from a process that died in between, are cut
   off when the folder is opened, and written again.
3. If position and files do not match, the folder is emptied and everything is written again.
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
    """How much of a trial is written to TensorBoard.

    Args:
        attempt: the last attempt of which events are written.
        events: number of its own events that are written.
        collected: number of the metrics collected about it that are written.
        next_figure: the step at which the next picture is due.
        drawn: the step of the last picture; -1 for none.
        ended: the attempt that is written up to its end; 0 for none.
        health: number of health changes in the newest text.
        file: number of the last event file.
        size: length of the last event file in bytes.
        format: version of this format.
    """

    attempt: int = 0
    events: int = 0
    collected: int = 0
    next_figure: int = 0
    drawn: int = -1
    ended: int = 0
    health: int = 0
    file: int = 0
    size: int = 0
    format: int = FORMAT


class RunFolder:
    """Appends events to a run; `position` is the position on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh_file = True
        self.position = self._recovered()

    @property
    def lost(self) -> bool:
        """Return whether the files written here were deleted."""
        return self.position.attempt > 0 and not self._position_file.exists()

    def begin_file(self) -> None:
        """Write the next events to a new event file."""
        self._fresh_file = True

    def empty(self) -> None:
        """Delete all event files. Their names are not reused, because a TensorBoard may have the old files open."""
        for path in self._path.glob("events.out.tfevents.*"):
            path.unlink(missing_ok=True)
        self._position_file.unlink(missing_ok=True)
        self.position = Position(file=self.position.file)
        self._fresh_file = True

    def commit(self, events: Sequence[Event], position: Position) -> None:
        """Append the events, then write the position with file number and size."""
        if events:
            position = self._append(events, position)
        self._path.mkdir(parents=True, exist_ok=True)
        # No fsync: after a power failure the sizes do not match, and the folder is written again.
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
        """Return the position on disk; if the files do not match it, empty the folder first."""
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
        """Cut off what the last file has beyond the position. Return whether it has everything up to the position."""
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
