"""Marks of files: their sizes and modification times, which tell whether the record of a trial has changed."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sweeper.record.reader import TrialReader
from sweeper.record.storage.layout import TrialDir

Mark = tuple[int, int]
"""Size in bytes and modification time in nanoseconds of a file."""

MISSING: Mark = (-1, 0)
"""The mark of a file that does not exist."""

Marks = Mapping[str, Mark]
"""The marks of files of a trial, by their paths below its directory; as lists where they were read from JSON."""


def marks_of(reader: TrialReader) -> Marks:
    """Return the marks of every file that a trial was read from; empty where one has changed since."""
    sizes, found = _files(reader), {}
    for path, size in sizes.items():
        now = mark(path)
        if size is not None and max(0, now[0]) != size:
            return {}
        found[_below(reader, path)] = now
    return found


def marks_before(reader: TrialReader) -> Marks:
    """Return the marks of the known files of a trial, also of such that were not read to their end."""
    return {_below(reader, path): mark(path) for path in _files(reader)}


def holds(directory: TrialDir, marks: Marks) -> bool:
    """Return whether these files of a trial still have these marks."""
    prefix = f"{directory.path}{os.sep}"
    for name, (size, time) in marks.items():  # noqa: SIM110 - faster: four files of each of ten thousand trials
        if mark(prefix + name) != (size, time):
            return False
    return True


def has_changed(directory: TrialDir, marks: Marks, *, only: str = "") -> bool:
    """Return whether the record of a trial has changed since; with `only`, whether this file of it has."""
    return not holds(directory, {only: marks.get(only, MISSING)} if only else marks)


def _files(reader: TrialReader) -> dict[str, int | None]:
    """Return the files of a trial, with how many bytes of each were read; None for files that are read whole."""
    directory = reader.trial.directory
    sizes: dict[str, int | None] = {str(directory.facts): None}
    sizes |= {str(path): size for path, size in reader.extent().items()}
    for attempt in reader.trial.attempts:  # an exit that was not read may have been written since
        sizes[str(directory.attempt(attempt.number).exit)] = 0 if attempt.exit is None else None
    return sizes


def _below(reader: TrialReader, path: str) -> str:
    return path.removeprefix(f"{reader.trial.directory.path}{os.sep}")


def mark(path: str) -> Mark:
    """Return the mark of a file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path takes twice as long
    except OSError:
        return MISSING
    return status.st_size, status.st_mtime_ns
