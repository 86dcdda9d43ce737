"""A trial's directory in two places: what grows on a node is read there, and comes to be the same here.

1. Files of the attempt only grow: they are known by their length, so that nothing has to be remembered to go on, and
   what is here is at any moment a beginning of what is there.
2. All other files (checkpoints, the best weights, whatever the script keeps) are replaced as a whole: they are known by
   length and time of change, and appear here when they are complete.
3. How the attempt ended comes last, after everything else.
4. What the orchestrator writes, facts and control, travels the other way only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sweeper.record.storage.layout import AttemptDir, TrialDir, sync_directory, unwritable, write_atomically

MOST_BYTES = 1 << 23
"""In one answer: large enough for a network, small enough for memory."""

PART = ".part"

Stamp: TypeAlias = tuple[int, int]
"""Length, and time of change in nanoseconds: what tells a version of a file from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Bytes of a file, by its path in the trial's directory; of one that is replaced, with the version they are of."""

    path: str
    offset: int
    data: bytes
    version: Stamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is here: lengths of files that grow, versions of those that do not, and how much of newer ones has come."""

    lengths: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, Stamp] = field(default_factory=dict)
    parts: Mapping[str, tuple[Stamp, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is not here yet, as much as one answer may hold.

    `kept` are the checkpoints that there are, where all of them are here with this.
    """

    pieces: Sequence[Piece] = ()
    kept: Sequence[str] | None = None


def news_of(trial: TrialDir, attempt: AttemptDir, known: Known) -> News:
    """What of an attempt, and of the rest of its trial's directory, is not known yet."""
    ended = attempt.exit.exists()  # looked at first: whatever is written before an end is then found below
    growing = [path for path in _files(attempt.path) if path not in (attempt.lease, attempt.exit)]
    room = MOST_BYTES
    pieces: list[Piece] = []
    whole = list(_whole_files(trial))
    for piece in _pieces(trial, growing, whole, known):
        if room <= 0:
            return News(pieces=pieces)
        pieces.append(piece)
        room -= len(piece.data)
    if any(piece.version and piece.offset + len(piece.data) < piece.version[0] for piece in pieces):
        return News(pieces=pieces)
    if any(piece.version is None and len(piece.data) == MOST_BYTES for piece in pieces):
        return News(pieces=pieces)
    kept = [str(path.relative_to(trial.path)) for path in whole if path.parent == trial.checkpoints]
    if ended:
        pieces += _grown(trial, attempt.exit, known)
    return News(pieces=pieces, kept=kept)


def _pieces(trial: TrialDir, growing: Sequence[Path], whole: Sequence[Path], known: Known) -> Iterator[Piece]:
    for path in growing:
        yield from _grown(trial, path, known)
    for path in whole:
        yield from _replaced(trial, path, known)


def _grown(trial: TrialDir, path: Path, known: Known) -> Iterator[Piece]:
    name = str(path.relative_to(trial.path))
    offset = known.lengths.get(name)
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset or 0)
        data = file.read(MOST_BYTES)
        if data or offset is None:
            yield Piece(path=name, offset=offset or 0, data=data)


def _replaced(trial: TrialDir, path: Path, known: Known) -> Iterator[Piece]:
    name = str(path.relative_to(trial.path))
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        version = stamp_of(file.fileno())
        if known.versions.get(name) == version:
            return
        part, length = known.parts.get(name, (version, 0))
        offset = length if part == version else 0
        file.seek(offset)
        yield Piece(path=name, offset=offset, data=file.read(MOST_BYTES), version=version)


def stamp_of(file: int | Path) -> Stamp:
    """The version of a file."""
    found = os.stat(file)  # noqa: PTH116 - a descriptor, too
    return found.st_size, found.st_mtime_ns


def _whole_files(trial: TrialDir) -> Iterator[Path]:
    """Files that are replaced as a whole."""
    ours = (trial.facts, trial.control)
    for path in _files(trial.path):
        if path not in ours and not path.is_relative_to(trial.path / "attempts"):
            yield path


def _files(folder: Path) -> list[Path]:
    """Regular files below a folder, in order; not hidden ones: those are being written."""
    found: list[Path] = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(base, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found


class Replica:
    """The trial's directory here, of one attempt that runs elsewhere; the only writer of that attempt's files."""

    def __init__(self, trial: TrialDir, attempt: int) -> None:
        self._trial = trial
        self._attempt = trial.attempt(attempt)
        self._parts: dict[str, tuple[Stamp, int]] = {}
        self._drop_parts()
        self._lengths = {str(path.relative_to(trial.path)): path.stat().st_size for path in _files(self._attempt.path)}
        self._versions = {str(path.relative_to(trial.path)): stamp_of(path) for path in _whole_files(trial)}

    @property
    def known(self) -> Known:
        """What is here."""
        return Known(lengths=dict(self._lengths), versions=dict(self._versions), parts=dict(self._parts))

    @property
    def has_ended(self) -> bool:
        """Whether it is here how the attempt ended, and so all of it."""
        return self._attempt.exit.exists()

    def take(self, news: News) -> None:
        """Write down what came.

        Raises:
            Unwritable: the disk is full or gone; what is here is still a beginning of what is there.
        """
        for piece in news.pieces:
            path = self._trial.path / piece.path
            try:
                if ".." in path.parts or not path.is_relative_to(self._trial.path):
                    raise PermissionError(errno.EPERM, "it is not in the trial's directory", str(path))
                path.parent.mkdir(parents=True, exist_ok=True)
                if path == self._attempt.exit:
                    write_atomically(path, piece.data)
                    self._lengths[piece.path] = len(piece.data)
                elif piece.version:
                    self._replace(path, piece)
                else:
                    self._append(path, piece)
            except OSError as error:
                raise unwritable(path, error) from error
        if news.kept is not None:
            self._drop_parts()
            for path in _files(self._trial.checkpoints):
                if (name := str(path.relative_to(self._trial.path))) not in news.kept:
                    path.unlink(missing_ok=True)
                    self._versions.pop(name, None)

    def sync(self) -> None:
        """Have it all on the disk: it is about to be forgotten where it came from."""
        for path in _files(self._attempt.path):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(self._attempt.path)

    def _drop_parts(self) -> None:
        """Begin anew with what is incomplete, or was replaced before it was complete."""
        self._parts.clear()
        for part in self._trial.path.rglob(f".*{PART}"):
            part.unlink()

    def _append(self, path: Path, piece: Piece) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            view, offset = memoryview(piece.data), piece.offset
            while view:
                written = os.pwrite(fd, view, offset)
                view, offset = view[written:], offset + written
        finally:
            self._lengths[piece.path] = os.fstat(fd).st_size
            os.close(fd)

    def _replace(self, path: Path, piece: Piece) -> None:
        assert piece.version is not None  # noqa: S101 - of these only
        part = path.with_name(f".{path.name}{PART}")
        with part.open("r+b" if piece.offset else "wb") as file:
            file.seek(piece.offset)
            file.write(piece.data)
            length = file.tell()
            if length >= piece.version[0]:
                file.flush()
                os.fsync(file.fileno())
        if length < piece.version[0]:
            self._parts[piece.path] = (piece.version, length)
            return
        os.utime(part, ns=(piece.version[1], piece.version[1]))
        part.replace(path)
        self._parts.pop(piece.path, None)
        self._versions[piece.path] = piece.version


Luggage: TypeAlias = Mapping[str, tuple[bytes, int]]
"""What a trial needs to run elsewhere: by path, the bytes and the time of change."""


def packed(trial: TrialDir) -> Luggage:
    """Facts, control, checkpoints and whatever else is in the directory, but for the attempts."""
    paths = [trial.facts, trial.control, *_whole_files(trial)]
    return {str(p.relative_to(trial.path)): (p.read_bytes(), p.stat().st_mtime_ns) for p in paths if p.exists()}


def unpack(luggage: Luggage, trial: TrialDir) -> None:
    """Have exactly this in the trial's directory, and the attempts as they are."""
    for path in list(_whole_files(trial)):
        path.unlink()
    for name, (data, changed) in luggage.items():
        path = trial.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(changed, changed))


def forget(trial: TrialDir) -> None:
    """Remove a trial's directory: all of it is elsewhere."""
    shutil.rmtree(trial.path, ignore_errors=True)
