"""Write and read checkpoints. The newest two are kept, and older ones on request; each has its checksum in its name.

`step-000000129.3fa94c01d2e7b655.pt` holds the state after step 129. The second part is the beginning of the SHA-256 of
its bytes: torch notices a truncated file, but not a flipped bit. Files are read with `weights_only=True`, so loading
one runs no code.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import CheckpointError
from sweeper.record.storage import confined
from sweeper.record.storage.checkpoint_file import NAME, checksum_of, is_whole
from sweeper.record.storage.layout import sync_directory, unwritable
from sweeper.worker.plain_state import numpy_types, plain_state

KEPT = 2
EXAMPLE = "step-000000129.3fa94c01d2e7b655.pt"


def save(folder: Path, state: Mapping[str, Any], *, step: int, older: int = 0, origin: str = "") -> Path:
    """Save a state atomically and durably, and delete all but the newest two checkpoints and `older` ones.

    Args:
        folder: the folder of the trial's checkpoints. It is created, but its parents are not.
        state: tensors, numbers, strings, lists and dicts by name.
        step: the optimizer step after which the state was taken.
        older: the number of older checkpoints to keep, as `kept_steps` chooses them.
        origin: the name of a checkpoint that is kept too: the one from which a derived trial began.

    Returns:
        The path of the checkpoint.

    Raises:
        Unwritable: the disk is full or gone. Earlier checkpoints are unchanged.
    """
    import torch

    temporary = folder / f".saving.{os.getpid()}"
    with _disk_errors_as_unwritable(folder):
        try:
            folder.mkdir(exist_ok=True)  # without its parents: a deleted trial must not come back in part
            with confined.folder(folder):  # it is not a link
                pass
            with temporary.open("wb") as file:
                torch.save(plain_state(dict(state)), file)
                file.flush()
                os.fsync(file.fileno())
            final = folder / f"step-{step:09d}.{checksum_of(temporary)}.pt"
            temporary.replace(final)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_directory(folder)
        there = [path for path in checkpoints(folder) if path.name != origin]
        kept = kept_steps([step_of(path) for path in there], older)
        for old in there:
            if old != final and step_of(old) not in kept:
                old.unlink(missing_ok=True)
    return final


def kept_steps(steps: Iterable[int], older: int) -> frozenset[int]:
    """Return the steps of the checkpoints to keep: the newest `KEPT`, and `older` ones, the denser the newer they are.

    A run is found to fail some time after it began to, and the later the longer it had run. So the ages of the older
    checkpoints grow geometrically: whenever one has to go, it is the one that leaves the smallest gap.

    Args:
        steps: the steps of all checkpoints.
        older: the number of checkpoints to keep beside the newest.
    """
    left = sorted(set(steps), reverse=True)
    while len(left) > KEPT + older:
        if not older:
            left.pop()
            continue
        ages = [left[0] - step + 1 for step in left] + [left[0] + 2]  # the last is the start, which needs no checkpoint
        del left[min(range(KEPT, len(left)), key=lambda i: (ages[i + 1] / ages[i - 1], i))]
    return frozenset(left)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, newest step first. Files with other names are ignored."""
    return sorted((path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name)), key=step_of, reverse=True)


def unrecognised(folder: Path) -> list[Path]:
    """Return files named `step-*.pt` that `save` did not write, because their name has no checksum."""
    return sorted(path for path in folder.glob("step-*.pt") if not NAME.fullmatch(path.name))


def step_of(path: Path) -> int:
    """Return the step after which a checkpoint was taken."""
    return int(path.name.split(".")[0].removeprefix("step-"))


def load(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint, with tensors on the CPU.

    Raises:
        CheckpointError: the file was truncated or altered, or it holds something other than plain data.
    """
    import torch

    try:
        whole = is_whole(path)
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error.strerror}") from error
    if not whole:
        raise CheckpointError(f"{path}: the checkpoint was truncated or altered: its checksum differs from its name")
    try:
        with torch.serialization.safe_globals(numpy_types()):
            state: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types; all of them mean that this checkpoint cannot be used
        raise CheckpointError(f"{path}: {_EXPECTED}, but torch cannot load it: {_reason(error)}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: {_EXPECTED} by name, got {type(state).__name__}")
    return state


_EXPECTED = "expected tensors, numbers, strings, lists and dicts"


def _reason(error: Exception) -> str:
    """Return torch's reason for not loading a file, without its advice to load it with weights_only=False."""
    refused = re.search(
        r"Unsupported (?:global|operand|class)[^,\n]*|Trying to (?:call|instantiate)[^,\n]*", str(error)
    )
    return f"{refused[0].strip()} (this is code; it was not run)" if refused else str(error).split("\n", 1)[0][:200]


@contextlib.contextmanager
def _disk_errors_as_unwritable(folder: Path) -> Iterator[None]:
    """Raise Unwritable for errors of the disk. torch 2.13 hides them in a RuntimeError about its archive."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        disk_error = error if isinstance(error, OSError) else error.__context__
        if not isinstance(disk_error, OSError):
            raise
        raise unwritable(folder, disk_error) from error
