"""Point from a trial's own checkpoint to the checkpoint of a library, such as Trainer or Lightning.

Such libraries save the random numbers, the scheduler and the position in the data too. A trial's checkpoint is then a
path, so that the record shows from which step an attempt resumed. With `checkpoint.keep_healthy`, it is the path of a
second name of the library's checkpoint (`worker.kept`), which the library does not delete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import CheckpointError
from sweeper.record.storage.layout import TrialDir
from sweeper.worker import kept
from sweeper.worker.checkpoint import checkpoints, step_of
from sweeper.worker.derived_state import POINTER, change
from sweeper.worker.trial import Trial, recorder_of, wait_for_ranks

if TYPE_CHECKING:
    import torch


def point_to(trial: Trial, path: str | os.PathLike[str], *, step: int) -> None:
    """Record that the library's checkpoint after `step` is complete. Every rank calls this."""
    recorder = recorder_of(trial)
    if not recorder.facts.keep_healthy:
        trial.save({POINTER: os.path.relpath(path, trial.dir)}, step=step)  # relative: a run may be moved
        return
    wait_for_ranks(trial)  # each rank may write files of its own
    known = Path(path)
    if recorder.writes:
        try:
            known = kept.keep(trial.dir, known, step=step)
        except OSError as error:
            trial.note(f"the checkpoint after step {step} is kept only as long as its library keeps it: {error}")
    trial.save({POINTER: os.path.relpath(known, trial.dir)}, step=step)
    if recorder.writes:
        try:
            kept.prune(trial.dir, {step_of(one) for one in checkpoints(trial.dir / "checkpoints")})
        except OSError as error:
            trial.note(f"older checkpoints in {TrialDir(trial.dir).kept} were not deleted: {error}")


def pointed_to(trial: Trial) -> Path | None:
    """Return the path of the newest checkpoint of the library; None on the first start.

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


def unshare(trial: Trial, paths: Iterable[Path]) -> None:
    """Give files of the library that have a second name their own content, before the library writes to them again."""
    if recorder_of(trial).writes:
        for path in paths:
            try:
                kept.unshare(path)
            except OSError as error:
                trial.note(f"{path} may be changed while another trial has it: {error}")
