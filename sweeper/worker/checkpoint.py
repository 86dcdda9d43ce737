"""Checkpoints: the newest two, each carrying its checksum in its name.

`step-000000129.3fa94c01d2e7b655.pt` holds the state after step 129; the second part is the beginning of the SHA-256 of
its bytes. Truncation is caught by loaders, a flipped bit by none, hence the checksum. Files are read with
`weights_only=True`: loading one runs no code.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import CheckpointError
from sweeper.record.layout import sync_directory

KEPT = 2


def save(folder: Path, state: Mapping[str, Any], *, step: int) -> Path:
    """Save a state atomically and durably, and drop all but the newest two.

    Raises:
        OSError: the disk is full; earlier checkpoints are untouched.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".saving.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        final = folder / f"step-{step:09d}.{_checksum(temporary)}.pt"
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(folder)
    for old in checkpoints(folder)[KEPT:]:
        if old != final:
            old.unlink(missing_ok=True)
    return final


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a folder, newest step first."""
    return sorted(folder.glob("step-*.pt"), key=lambda path: path.name, reverse=True)


def step_of(path: Path) -> int:
    """The step after which a checkpoint was taken."""
    return int(path.name.split(".")[0].removeprefix("step-"))


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU.

    Raises:
        CheckpointError: its bytes are not the ones that were saved, or they do not load.
    """
    import torch

    if _checksum(path) != path.name.split(".")[1]:
        message = f"{path}: expected the bytes that were saved, got others: truncated or altered"
        raise CheckpointError(message)
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what the damage happens to hit; all of it means: take the other one
        message = f"{path}: expected a checkpoint, got: {error}"
        raise CheckpointError(message) from error
    return state


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
