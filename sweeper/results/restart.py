"""Say from where trials that were interrupted will run again: from a checkpoint, or from step 0."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.config import ResumeArgs
from sweeper.record.resumption import Resumption, resumption
from sweeper.record.storage import confined
from sweeper.record.trial import State, TrialRecord
from sweeper.results.wording import plain

MOST_LISTED = 8
"""Maximum number of trials that a sentence lists."""


def has_checkpoint(trial: TrialRecord) -> bool:
    """Return whether the trial has a checkpoint that was saved through sweeper: its own, or that of its parent."""
    try:
        return _checkpoint_step(trial) is not None and bool(confined.listed(trial.directory.checkpoints))
    except OSError:
        return False


def has_begun(trial: TrialRecord) -> bool:
    """Return whether the trial may have made a step; of a script that never opened the trial, that is not known."""
    return trial.step >= 0 or not any(attempt.started for attempt in trial.attempts)


def _checkpoint_step(trial: TrialRecord) -> int | None:
    """Return the step of the newest checkpoint; a derived trial has that of its parent until it saves its own."""
    derived = trial.facts.derived
    if trial.progress.checkpoint is None and derived is not None and derived.checkpoint:
        return derived.step
    return trial.progress.checkpoint


def own_checkpoint(trial: TrialRecord, resume_args: ResumeArgs | None) -> Resumption | None:
    """Return how the trial would resume by `resume_args`; None if there is no checkpoint for them."""
    if resume_args is None:
        return None
    found = resumption(resume_args.args, resume_args.path, trial.facts.macros(trial.directory))
    return found if found.args else None


def restart_text(trial: TrialRecord, resume_args: ResumeArgs | None = None) -> str:
    """Return from where the trial will run again, as a sentence about "it" without its full stop."""
    if found := own_checkpoint(trial, resume_args):
        return f"it will resume with {plain(' '.join(found.args))}"
    if has_checkpoint(trial):
        return f"it will resume from the checkpoint of step {_checkpoint_step(trial)}"
    if not has_begun(trial):
        return "it had recorded no step, so it will start from step 0"
    return "it saved no checkpoint through sweeper, so it will start from step 0 unless its script finds one of its own"


def restarts_text(trials: Sequence[TrialRecord], where: str, resume_args: ResumeArgs | None = None) -> str:
    """Return the sentences with which an interrupted sweep ends: that it can be resumed, and from where.

    A trial that had made no step has lost nothing, and is not named.

    Args:
        trials: the trials of the sweep.
        where: the directory of the run.
        resume_args: those of the sweep file.
    """
    head = "Interrupted. Run the same command to resume"
    left = [trial for trial in trials if trial.attempts and not trial.state.ended and trial.state is not State.RUNNING]
    kept = [trial for trial in left if has_checkpoint(trial) or own_checkpoint(trial, resume_args)]
    lost = [trial for trial in left if trial not in kept and has_begun(trial)]
    head += f": {where} has the checkpoints" if kept else ""
    if not lost:
        return f"{head}."
    if len(lost) == 1:
        return f"{head}. Trial {lost[0].number:04d}: {restart_text(lost[0])}."
    names = [f"{trial.number:04d}" for trial in lost[:MOST_LISTED]]
    names += [f"{len(lost) - MOST_LISTED} more"] if len(lost) > MOST_LISTED else []
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    restart = "they will start from step 0 unless their scripts find some of their own"
    return f"{head}. Trials {listed} saved no checkpoints through sweeper, so {restart}."
