"""Transfer of a trial's directory from a node to the run's directory on this machine.

1. Files of the attempt only grow. Their length identifies what is here, so that no other state is needed to continue,
   and the copy is a prefix of the original at any time.
2. All other files (checkpoints, the best weights, files of the script) are replaced as a whole. Their length and
   modification time identify the version, and a file appears here once it is complete.
3. How the attempt ended is transferred last.
4. What the orchestrator writes, `trial.json` and `control.jsonl`, is transferred to the node only.
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

from sweeper.record.events import OutputCut
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir, TrialDir, sync_directory, unwritable, write_atomically
from sweeper.record.storage.output import MARKER, cut_of, remove

MAX_REPLY_BYTES = 1 << 23
"""The maximum size of one reply: large enough for the network, small enough for memory."""

PART = ".part"

FileVersion: TypeAlias = tuple[int, int]
"""A version of a file: its length in bytes, and its modification time in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes of a file.

    Attributes:
        path: The path of the file, relative to the trial's directory.
        offset: Where the bytes are in the file.
        data: The bytes.
        version: The version of a file that is replaced as a whole; None for a file that grows.
    """

    path: str
    offset: int
    data: bytes
    version: FileVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFiles:
    """What of a trial's directory is here, by relative path.

    Attributes:
        lengths: The lengths of files that grow.
        versions: The versions of files that are replaced as a whole.
        parts: For files that arrived in part: the version, and how many bytes of it are here.
    """

    lengths: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, FileVersion] = field(default_factory=dict)
    parts: Mapping[str, tuple[FileVersion, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUpdates:
    """What is not here yet, as much as one reply may contain.

    Attributes:
        chunks: Bytes of files.
        checkpoints: The paths of all checkpoints on the node, once all of them are here with this reply; else None.
    """

    chunks: Sequence[Chunk] = ()
    checkpoints: Sequence[str] | None = None


def updates_of(trial: TrialDir, attempt: AttemptDir, known: KnownFiles) -> FileUpdates:
    """Return what of an attempt, and of the rest of its trial's directory, is not here yet.

    Args:
        trial: The directory of the trial on the node.
        attempt: The attempt.
        known: What is here.
    """
    ended = attempt.exit.exists()  # checked first, so that the code below finds everything written before the end
    growing = [path for path in _files(attempt.path) if path not in (attempt.lease, attempt.exit)]
    room = MAX_REPLY_BYTES
    chunks: list[Chunk] = []
    whole = list(_whole_files(trial))
    for chunk in _pieces(trial, growing, whole, known):
        if room <= 0:
            return FileUpdates(chunks=chunks)
        chunks.append(chunk)
        room -= len(chunk.data)
    if any(chunk.version and chunk.offset + len(chunk.data) < chunk.version[0] for chunk in chunks):
        return FileUpdates(chunks=chunks)
    if any(chunk.version is None and len(chunk.data) == MAX_REPLY_BYTES for chunk in chunks):
        return FileUpdates(chunks=chunks)
    checkpoints = [str(path.relative_to(trial.path)) for path in whole if path.parent == trial.checkpoints]
    if ended:
        chunks += _grown(trial, attempt.exit, known)
    return FileUpdates(chunks=chunks, checkpoints=checkpoints)


def _pieces(trial: TrialDir, growing: Sequence[Path], whole: Sequence[Path], known: KnownFiles) -> Iterator[Chunk]:
    for path in growing:
        cut = cut_of(AttemptDir(path.parent)) if path.name == AttemptDir(path.parent).output.name else None
        yield from _grown(trial, path, known, cut)
    for path in whole:
        yield from _replaced(trial, path, known)


def _grown(trial: TrialDir, path: Path, known: KnownFiles, cut: OutputCut | None = None) -> Iterator[Chunk]:
    """Yield what was appended to a file, without the bytes that were removed from it."""
    name = str(path.relative_to(trial.path))
    offset, most = known.lengths.get(name), MAX_REPLY_BYTES
    if cut is not None and (offset or 0) < cut.begin:
        most = min(most, cut.begin - (offset or 0))
    elif cut is not None and (offset or 0) < cut.end:
        offset = cut.end
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset or 0)
        data = file.read(most)
        if data or offset is None:
            yield Chunk(path=name, offset=offset or 0, data=data)


def _replaced(trial: TrialDir, path: Path, known: KnownFiles) -> Iterator[Chunk]:
    name = str(path.relative_to(trial.path))
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        version = version_of(file.fileno())
        if known.versions.get(name) == version:
            return
        part, length = known.parts.get(name, (version, 0))
        offset = length if part == version else 0
        file.seek(offset)
        yield Chunk(path=name, offset=offset, data=file.read(MAX_REPLY_BYTES), version=version)


def version_of(file: int | Path) -> FileVersion:
    """Return the version of a file."""
    found = os.stat(file)  # noqa: PTH116 - also for a descriptor
    return found.st_size, found.st_mtime_ns


def _whole_files(trial: TrialDir) -> Iterator[Path]:
    """Yield the files that are replaced as a whole."""
    ours = (trial.facts, trial.control)
    for path in _files(trial.path):
        if path not in ours and not path.is_relative_to(trial.path / "attempts"):
            yield path


def _files(folder: Path) -> list[Path]:
    """Return the regular files below a folder, in order, without hidden ones: those are still being written."""
    found: list[Path] = []
    if folder.is_symlink():
        return found
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(base, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return found


class Replica:
    """The copy of a trial's directory here, while an attempt runs on a node; it alone writes that attempt's files."""

    def __init__(self, trial: TrialDir, attempt: int) -> None:
        """Continue from the files that are here.

        Args:
            trial: The directory of the trial on this machine.
            attempt: The number of the attempt.
        """
        self._trial = trial
        self._root = confined.root_of(trial.path)
        self._attempt = trial.attempt(attempt)
        self._parts: dict[str, tuple[FileVersion, int]] = {}
        self._drop_parts()
        self._lengths = {str(path.relative_to(trial.path)): path.stat().st_size for path in _files(self._attempt.path)}
        self._versions = {str(path.relative_to(trial.path)): version_of(path) for path in _whole_files(trial)}

    @property
    def known(self) -> KnownFiles:
        """What of the trial's directory is here."""
        return KnownFiles(lengths=dict(self._lengths), versions=dict(self._versions), parts=dict(self._parts))

    @property
    def has_ended(self) -> bool:
        """Whether the record of how the attempt ended has arrived, and so everything else."""
        return self._attempt.exit.exists()

    def apply(self, updates: FileUpdates) -> None:
        """Write updates to the files here.

        Raises:
            Unwritable: The disk is full or gone. The copy is still a prefix of the original.
        """
        for chunk in updates.chunks:
            path = self._trial.path / chunk.path
            try:
                if ".." in path.parts or not path.is_relative_to(self._trial.path):
                    raise PermissionError(errno.EPERM, "it is not in the trial's directory", str(path))
                confined.make_folder(path.parent, root=self._root)
                if path == self._attempt.exit:
                    write_atomically(path, chunk.data)
                    self._lengths[chunk.path] = len(chunk.data)
                elif chunk.version:
                    self._replace(path, chunk)
                else:
                    self._append(path, chunk)
                    if path == self._attempt.output_cuts and (cut := cut_of(self._attempt)) is not None:
                        self._remove(cut)
            except OSError as error:
                raise unwritable(path, error) from error
        if updates.checkpoints is not None:
            self._drop_parts()
            for path in _files(self._trial.checkpoints):
                if (name := str(path.relative_to(self._trial.path))) not in updates.checkpoints:
                    path.unlink(missing_ok=True)
                    self._versions.pop(name, None)

    def sync(self) -> None:
        """Flush all files of the attempt to the disk, before the node deletes them."""
        for path in _files(self._attempt.path):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(self._attempt.path)

    def _remove(self, cut: OutputCut) -> None:
        """Remove the same bytes of the output here as the shim has on the node; their end may not be here yet."""
        output = self._attempt.output
        name = str(output.relative_to(self._trial.path))
        if self._lengths.get(name, 0) > cut.begin - len(MARKER):
            os.truncate(output, max(cut.end, output.stat().st_size))
            remove(output, cut)
            self._lengths[name] = output.stat().st_size

    def _drop_parts(self) -> None:
        """Delete files that arrived in part, so that their transfer starts again."""
        self._parts.clear()
        for part in self._trial.path.rglob(f".*{PART}"):
            part.unlink()

    def _append(self, path: Path, chunk: Chunk) -> None:
        fd = confined.open_file(path, os.O_WRONLY | os.O_CREAT, root=self._root)
        try:
            view, offset = memoryview(chunk.data), chunk.offset
            while view:
                written = os.pwrite(fd, view, offset)
                view, offset = view[written:], offset + written
        finally:
            self._lengths[chunk.path] = os.fstat(fd).st_size
            os.close(fd)

    def _replace(self, path: Path, chunk: Chunk) -> None:
        assert chunk.version is not None  # noqa: S101 - called only for chunks with a version
        part = path.with_name(f".{path.name}{PART}")
        flags = os.O_RDWR | (0 if chunk.offset else os.O_CREAT | os.O_TRUNC)
        with os.fdopen(confined.open_file(part, flags, root=self._root), "r+b") as file:
            file.seek(chunk.offset)
            file.write(chunk.data)
            length = file.tell()
            if length >= chunk.version[0]:
                file.flush()
                os.fsync(file.fileno())
                os.utime(file.fileno(), ns=(chunk.version[1], chunk.version[1]))
        if length < chunk.version[0]:
            self._parts[chunk.path] = (chunk.version, length)
            return
        with confined.folder(path.parent, root=self._root) as folder:
            os.replace(part.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        self._parts.pop(chunk.path, None)
        self._versions[chunk.path] = chunk.version


TrialFiles: TypeAlias = Mapping[str, tuple[bytes, int]]
"""Files by relative path: their bytes, and their modification time in nanoseconds."""


def pack(trial: TrialDir) -> TrialFiles:
    """Return the files of a trial's directory, without those of its attempts."""
    paths = [trial.facts, trial.control, *_whole_files(trial)]
    return {str(path.relative_to(trial.path)): _packed(path, trial) for path in paths if path.exists()}


def _packed(path: Path, trial: TrialDir) -> tuple[bytes, int]:
    with confined.reading(path, root=confined.root_of(trial.path)) as file:
        return file.read(), os.fstat(file.fileno()).st_mtime_ns


def unpack(files: TrialFiles, trial: TrialDir) -> None:
    """Replace the files of a trial's directory by these; its attempts stay as they are."""
    root = confined.root_of(trial.path)
    for path in list(_whole_files(trial)):
        path.unlink()
    for name, (data, changed) in files.items():
        path = trial.path / name
        confined.make_folder(path.parent, root=root)
        with os.fdopen(confined.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, root=root), "wb") as file:
            file.write(data)
            file.flush()
            os.utime(file.fileno(), ns=(changed, changed))


def forget(trial: TrialDir) -> None:
    """Delete the directory of a trial on the node."""
    shutil.rmtree(trial.path, ignore_errors=True)
