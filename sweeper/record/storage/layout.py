"""The paths of everything in a sweep's directory. No other module knows the name of a file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import RecordError, Unwritable
from sweeper.record.storage import confined
from sweeper.record.storage.checksums import Altered, sealed, unsealed

TRIAL_DIR = "SWEEPER_TRIAL_DIR"
ATTEMPT = "SWEEPER_ATTEMPT"
"""In the environment of every process of an attempt: the trial's directory, and the attempt's number."""

KEEPER = "SWEEPER_KEEPER"
"""In the environment of a shim: pid and start of the process that the attempt must not outlive, if there is one."""

EMBEDDING_VECTORS = "vectors.tsv"
EMBEDDING_METADATA = "metadata.tsv"
"""What `TrialDir.embeddings` holds: a line of numbers for each document; and a line saying what it is."""


@dataclass(frozen=True, slots=True)
class AttemptDir:
    """One start of a trial."""

    path: Path

    @property
    def number(self) -> int:
        """1 for the first attempt."""
        return int(self.path.name)

    @property
    def trial(self) -> TrialDir:
        """The trial that the attempt belongs to."""
        return TrialDir(self.path.parents[1])

    @property
    def claim(self) -> Path:
        """Made with O_EXCL by the process that runs the attempt, so that it runs once; names that process."""
        return self.path / "claim"

    @property
    def lease(self) -> Path:
        """Held by shim and worker for as long as either lives."""
        return self.path / "lease"

    @property
    def events(self) -> Path:
        """What the worker appended."""
        return self.path / "events.jsonl"

    @property
    def layers(self) -> Path:
        """Per-tensor statistics, one row of little-endian float32 an observation."""
        return self.path / "layers.f32"

    @property
    def output(self) -> Path:
        """Standard output and error of the worker."""
        return self.path / "output.log"

    @property
    def output_cuts(self) -> Path:
        """Which bytes of the output the shim has removed; absent if it is whole."""
        return self.path / "output-cuts.jsonl"

    def last_word(self, rank: str) -> Path:
        """How a rank other than the first failed, written by that rank; absent if it did not fail."""
        return self.path / f"rank-{rank}.json"

    @property
    def last_words(self) -> list[Path]:
        """The files of all ranks that failed, except the first, which reports it in its events."""
        names = [name for name in _names(self.path) if name.startswith("rank-") and name.endswith(".json")]
        return [self.path / name for name in names]

    @property
    def arguments(self) -> Path:
        """The parameters as JSON, where the command asks for them so."""
        return self.path / "args.json"

    @property
    def watched_by(self) -> Path:
        """Made with O_EXCL by the process that records a script without changes, so that one process does."""
        return self.path / "watched-by"

    @property
    def stop_after(self) -> Path:
        """The step after which all ranks of a script without changes stop; written by rank 0."""
        return self.path / "stop-after"

    @property
    def resumption(self) -> Path:
        """With which arguments an attempt after the first resumed, written by the shim before it starts the worker."""
        return self.path / "resume.json"

    @property
    def exit(self) -> Path:
        """How the process ended, written by the shim."""
        return self.path / "exit.json"


@dataclass(frozen=True, slots=True)
class TrialDir:
    """One run of a configuration with one seed."""

    path: Path

    @property
    def number(self) -> int:
        """0 for the first trial."""
        return int(self.path.name)

    @property
    def facts(self) -> Path:
        """Number, parameters, seed, command; written once."""
        return self.path / "trial.json"

    @property
    def control(self) -> Path:
        """The events that the orchestrator appended about the trial."""
        return self.path / "control.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The newest two checkpoints, older ones with `keep_healthy`, and the one from which a derived trial began."""
        return self.path / "checkpoints"

    @property
    def kept(self) -> Path:
        """Second names of a library's own checkpoints, with `keep_healthy`."""
        return self.path / "kept"

    @property
    def best(self) -> Path:
        """The weights of the best evaluation, where the trainer keeps them."""
        return self.path / "best"

    @property
    def embeddings(self) -> Path:
        """Where the script put the documents of its task, if it says so: vectors, and what each one is."""
        return self.path / "embeddings"

    @property
    def is_unmade(self) -> bool:
        """Whether a crash interrupted the making of the trial: it never ran, and its facts are missing or empty."""
        if not self.path.is_dir() or self.control.exists() or (self.path / "attempts").exists():
            return False
        try:
            return self.facts.stat().st_size == 0
        except FileNotFoundError:
            return True

    def attempt(self, number: int) -> AttemptDir:
        """The directory of an attempt, which may not exist yet."""
        return AttemptDir(self.path / "attempts" / str(number))

    def attempts(self) -> list[AttemptDir]:
        """The attempts that exist, oldest first."""
        return [AttemptDir(path) for path in _numbered(self.path / "attempts")]


@dataclass(frozen=True, slots=True)
class SweepDir:
    """A sweep: `runs/<name>`."""

    path: Path

    @property
    def sweep_yaml(self) -> Path:
        """The sweep file as given, byte for byte."""
        return self.path / "sweep.yaml"

    @property
    def spec(self) -> Path:
        """The resolved sweep, with provenance."""
        return self.path / "spec.json"

    @property
    def lease(self) -> Path:
        """Held by the one orchestrator."""
        return self.path / "lease"

    @property
    def log(self) -> Path:
        """What orchestrators did."""
        return self.path / "log.jsonl"

    @property
    def search(self) -> Path:
        """Every ask and tell."""
        return self.path / "search.jsonl"

    @property
    def ended(self) -> Path:
        """The cache of ended trials, a projection of the record."""
        return self.path / "ended.jsonl"

    @property
    def inbox(self) -> Path:
        """Commands to the orchestrator."""
        return self.path / "inbox"

    @property
    def ray(self) -> Path:
        """The name of the sweep's actors on a Ray cluster."""
        return self.path / "ray.json"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard runs, a projection of the record."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The report page, a projection of the record."""
        return self.path / "report"

    @property
    def views_lease(self) -> Path:
        """Held by the one views process."""
        return self.path / "views.lease"

    @property
    def views_log(self) -> Path:
        """What the views process printed."""
        return self.path / "views.log"

    @property
    def notify_log(self) -> Path:
        """What the commands of `notify` printed."""
        return self.path / "notify.log"

    def trial(self, number: int) -> TrialDir:
        """The directory of a trial, which may not exist yet."""
        return TrialDir(self.path / f"{confined.TRIALS}/{number:04d}")

    def trials(self) -> list[TrialDir]:
        """The trials that exist, by number. A directory without facts does not count: its making was interrupted."""
        return [trial for trial in self.entries() if trial.facts.exists()]

    def entries(self, but: Container[int] = ()) -> list[TrialDir]:
        """Return all that is in the place of trials, by number, even if it is not a valid trial; except `but`."""
        return [TrialDir(path) for path in _numbered(self.path / confined.TRIALS, but)]


def new_name(script: str) -> str:
    """Return a name that no other run has, made of the script, the time, the host and this process."""
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "._=+-") else "-" for c in script).lstrip(".=+-")
    host = socket.gethostname().split(".")[0]
    return f"{stem[:40] or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}-{host[:20]}-{os.getpid()}"


def write_atomically(path: Path, data: bytes, *, sync: bool = True, root: Path | None = None) -> None:
    """Replace the file at `path`, so that readers see all of `data` or none; with `sync`, it also survives a crash.

    Args:
        path: the file.
        data: its content.
        sync: wait for the disk.
        root: the run's directory, as for `confined.open_file`.

    Raises:
        Unwritable: the disk is full or gone; the old file is still there.
    """
    # Two threads of one process may write the same file: two drivers on a Ray cluster mirror the same attempt.
    temporary = f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp"
    try:
        with confined.folder(path.parent, root=root or confined.root_of(path)) as folder:
            try:
                fd = os.open(temporary, _NEW, 0o666, dir_fd=folder)
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    if sync:
                        os.fsync(fd)
                os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
                if sync:
                    os.fsync(folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, value: Mapping[str, object], *, sync: bool = True, root: Path | None = None) -> None:
    """Write a JSON object, which is not empty, with its checksum, as `write_atomically`.

    If a text is not Unicode, such as the name of a file, all texts are escaped.
    """
    try:
        data = json.dumps(value, indent=1, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        data = json.dumps(value, indent=1).encode()
    write_atomically(path, sealed(data), sync=sync, root=root)


def read_json(path: Path, *, root: Path | None = None) -> dict[str, object]:
    """Return the JSON object at `path`, without its checksum; `root` is as for `confined.open_file`.

    Raises:
        RecordError: the file is missing, not a JSON object, or not as it was written.
    """
    try:
        data = confined.read_bytes(path, root=root)
    except OSError as error:
        message = f"{path}: expected a readable file, got: {error.strerror}"
        raise RecordError(message) from error
    try:
        return unsealed(data)
    except Altered as error:
        raise RecordError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        message = f"{path}: expected JSON, got: {error}"
        raise RecordError(message) from error


_REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "make room: the quota of its disk is spent",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "its disk is read-only: make it writable, or keep runs elsewhere",
    errno.EACCES: "make it writable, or keep runs elsewhere",
    errno.EPERM: "make it writable, or keep runs elsewhere",
    errno.ENOENT: "make its directory, or choose another one",
    errno.ENOTDIR: "remove the file that is in the place of its directory, or choose another one",
    errno.EEXIST: "remove what is in its place, or choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "remove the directory that is in its place",
    errno.ELOOP: "remove the link, or make the whole directory of the run one",
    errno.ENXIO: "remove what is there",
}


def unwritable(path: Path, error: OSError) -> Unwritable:
    """Return the error for a path that cannot be written, with its cause and a remedy."""
    return Unwritable(f"{path}: cannot be written: {reason_of(error)}, then call again: what was recorded stands")


def reason_of(error: OSError) -> str:
    """Return why a file cannot be written, and the remedy."""
    return f"{error.strerror or error}; {_REMEDIES.get(error.errno or 0, 'look at its disk')}"


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable (fsync(2): a file's own fsync does not do it)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _numbered(folder: Path, but: Container[int] = ()) -> list[Path]:
    names = [name for name in _names(folder) if name.isdecimal()]
    return [folder / name for name in sorted(names, key=int) if int(name) not in but]


def _names(folder: Path) -> list[str]:
    """Return the names in a folder of a run; none if it does not exist, or something else stands in its place.

    Raises:
        RecordError: the folder is a link, or cannot be read.
    """
    try:
        return confined.listed(folder)
    except NotADirectoryError:
        return []
    except OSError as error:
        raise RecordError(f"{error.filename}: expected a folder of a run, got: {error.strerror}") from error


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
