"""Point to a library's own checkpoint: sweeper's checkpoint then holds only its path.

The library writes and reads its checkpoint in a file or folder of its own. `trial.save` and `trial.restore` carry the
path, so that the record shows from which step an attempt resumed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import CheckpointError
from sweeper.worker.derived_state import POINTER, change
from sweeper.worker.trial import Trial, recorder_of

if TYPE_CHECKING:
    import torch


def point_to(trial: Trial, path: str | os.PathLike[str], *, step: int) -> None:
    """Record that the library's checkpoint after `step` is complete. Every rank calls this."""
    trial.save({POINTER: os.path.relpath(path, trial.dir)}, step=step)  # relative: a run may be moved


def pointed_to(trial: Trial) -> Path | None:
    """Return the path of the library's newest checkpoint, or None on the first start. Every rank calls this.

    Raises:
        CheckpointError: the checkpoint that the record points to does not exist.
    """
    state = trial.restore()
    if state is None:
        return None
    path = Path(os.path.normpath(trial.dir / str(state.get(POINTER, ""))))
    if POINTER not in state or not path.exists():
        raise CheckpointError(
            f"{path}: the checkpoint after step {trial.next_step - 1} does not exist. "
            f"To restart the trial from the beginning, delete {trial.dir / 'checkpoints'}"
        )
    return path


def change_restored(trial: Trial, optimizers: Sequence[torch.optim.Optimizer], schedulers: Sequence[object]) -> None:
    """Change what the library has restored from the parent's checkpoint, if the trial was derived; every rank calls it.

    Nothing happens at the second call: what the trial itself saves later has the changes.
    """
    recorder = recorder_of(trial)
    if recorder.derivation is not None:
        change(optimizers, schedulers, recorder.derivation)
        recorder.derivation = None
