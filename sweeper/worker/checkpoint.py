"""Checkpoints: the newest two, each carrying its checksum in its name.

`step-000000129.3fa94c01d2e7b655.pt` holds the state after step 129; the second part is the beginning of the SHA-256 of
its bytes. Truncation is caught by loaders, a flipped bit by none, hence the checksum. Files are read with
`weights_only=True`: loading one runs no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import CheckpointError
from sweeper.record.storage.layout import sync_directory, unwritable

KEPT = 2
EXAMPLE = "step-000000129.3fa94c01d2e7b655.pt"
_NAME = re.compile(r"step-(\d{9,})\.([0-9a-f]{16})\.pt")


def save(folder: Path, state: Mapping[str, Any], *, step: int) -> Path:
    """Save a state atomically and durably, and drop all but the newest two.

    Raises:
        Unwritable: the disk is full or gone; earlier checkpoints are untouched.
    """
    import torch

    temporary = folder / f".saving.{os.getpid()}"
    with _in_words(folder):
        try:
            folder.mkdir(exist_ok=True)  # and nothing above it: a trial that was deleted is not to come back in part
            with temporary.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            final = folder / f"step-{step:09d}.{_checksum(temporary)}.pt"
            temporary.replace(final)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_directory(folder)
        for old in checkpoints(folder)[KEPT:]:
            if old != final:
                old.unlink(missing_ok=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest step first; what has no checkpoint's name is none."""
    return sorted((path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name)), key=step_of, reverse=True)


def strangers(folder: Path) -> list[Path]:
    """What is named as a checkpoint might be, and was not written by `save`: there is no checksum in its name."""
    return sorted(path for path in folder.glob("step-*.pt") if not _NAME.fullmatch(path.name))


def step_of(path: Path) -> int:
    """The step after which a checkpoint was taken."""
    return int(path.name.split(".")[0].removeprefix("step-"))


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU.

    Raises:
        CheckpointError: its bytes are not the ones that were saved, or they are no plain state.
    """
    import torch

    try:
        checksum = _checksum(path)
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file, got: {error.strerror}") from error
    if checksum != path.name.split(".")[1]:
        raise CheckpointError(f"{path}: expected the bytes that were saved, got others: truncated or altered")
    try:
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it happens to hit; all of it means: take the one before
        raise CheckpointError(f"{path}: {_EXPECTED}, got what it will not load: {_reason(error)}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: {_EXPECTED} by name, got {type(state).__name__}")
    return state


_EXPECTED = "expected tensors, numbers, strings, lists and dicts"


def _reason(error: Exception) -> str:
    """What torch has against a file, without its advice to load it anyway."""
    refused = re.search(
        r"Unsupported (?:global|operand|class)[^,\n]*|Trying to (?:call|instantiate)[^,\n]*", str(error)
    )
    return f"{refused[0].strip()} (code; none of it was run)" if refused else str(error).split("\n", 1)[0][:200]


@contextlib.contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    """A disk's refusal, as such; torch hides one behind a RuntimeError about its archive (torch 2.13)."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        refusal = error if isinstance(error, OSError) else error.__context__
        if not isinstance(refusal, OSError):
            raise
        raise unwritable(folder, refusal) from error


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
