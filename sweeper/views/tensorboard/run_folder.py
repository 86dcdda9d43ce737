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

from sweeper.record.storage import confined
from sweeper.record.storage.layout import write_atomically
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

    def __init__(self, path: Path, *, root: Path | None = None) -> None:
        """Open the folder at `path`, of the run at `root`; by default its parent.

        Raises:
            OSError: a link or something else stands in its place, or in that of a folder on the way.
        """
        self._path = path
        self._root = root or path.parent
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
        for path in (*self._event_files(), self._position_file):
            confined.remove(path, root=self._root)
        self.position = Position(file=self.position.file)
        self._fresh_file = True

    def commit(self, events: Sequence[Event], position: Position) -> None:
        """Append the events, then write the position with file number and size."""
        if events:
            position = self._append(events, position)
        confined.make_folder(self._path, root=self._root)
        # No fsync: after a power failure the sizes do not match, and the folder is written again.
        write_atomically(
            self._position_file, json.dumps(dataclasses.asdict(position)).encode(), sync=False, root=self._root
        )
        self.position = position

    def _append(self, events: Sequence[Event], position: Position) -> Position:
        confined.make_folder(self._path, root=self._root)
        number, size = self.position.file, self.position.size
        data = b"".join(framed(event) for event in events)
        if self._fresh_file:
            number, size = number + 1, 0
            data = framed(file_version(events[0].wall_time)) + data
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if size else os.O_TRUNC)
        with os.fdopen(confined.open_file(self._file(number), flags, root=self._root), "wb") as file:
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
            position = Position(**json.loads(confined.read_bytes(self._position_file, root=self._root)))
            if position.format == FORMAT and self._cut(position):
                return position
        except (OSError, ValueError, TypeError, RecursionError):
            pass
        self.position = Position(file=self._newest())
        self.empty()
        return self.position

    def _cut(self, position: Position) -> bool:
        """Cut off what the last file has beyond the position. Return whether it has everything up to the position."""
        for path in self._event_files():
            if path > self._file(position.file):
                confined.remove(path, root=self._root)
        if not position.file:
            return True
        fd = confined.open_file(self._file(position.file), os.O_RDWR, root=self._root)
        try:
            size = os.fstat(fd).st_size
            if size > position.size:
                os.ftruncate(fd, position.size)
        finally:
            os.close(fd)
        return size >= position.size

    def _event_files(self) -> list[Path]:
        names = confined.listed(self._path, root=self._root)
        return [self._path / name for name in names if name.startswith("events.out.tfevents.")]

    def _newest(self) -> int:
        numbers = [0]
        for path in self._event_files():
            with contextlib.suppress(ValueError, IndexError):
                numbers.append(int(path.name.split(".")[3]))
        return max(numbers)
