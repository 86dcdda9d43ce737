"""A library's own checkpoint, made known to the record by a small checkpoint that names it.

The library writes and reads what it needs, in a file or folder of its own; `trial.save` and `trial.restore` carry the
name, so that the record says from which step an attempt went on.
"""

from __future__ import annotations

import os
from pathlib import Path

from sweeper.errors import CheckpointError
from sweeper.worker.trial import Trial

_KEY = "checkpoint"


def point_to(trial: Trial, path: str | os.PathLike[str], *, step: int) -> None:
    """Record that the library's checkpoint after `step` is complete; every rank calls this."""
    trial.save({_KEY: os.path.relpath(path, trial.dir)}, step=step)  # relative: a run may be moved


def pointed_to(trial: Trial) -> Path | None:
    """The library's newest checkpoint, None at a first start; every rank calls this.

    Raises:
        CheckpointError: what the record names is not there.
    """
    state = trial.restore()
    if state is None:
        return None
    path = Path(os.path.normpath(trial.dir / str(state.get(_KEY, ""))))
    if _KEY not in state or not path.exists():
        raise CheckpointError(
            f"{path}: expected the checkpoint after step {trial.next_step - 1}, which is not there; "
            f"without {trial.dir / 'checkpoints'} the trial starts anew"
        )
    return path
