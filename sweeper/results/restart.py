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
    """Return whether the script saved a checkpoint through sweeper, and it is still there."""
    try:
        return trial.progress.checkpoint is not None and bool(confined.listed(trial.directory.checkpoints))
    except OSError:
        return False


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
        return f"it will resume from the checkpoint of step {trial.progress.checkpoint}"
    return "it saved no checkpoint through sweeper, so it will start from step 0 unless its script finds one of its own"


def restarts_text(trials: Sequence[TrialRecord], where: str, resume_args: ResumeArgs | None = None) -> str:
    """Return the sentences with which an interrupted sweep ends: that it can be resumed, and from where.

    Args:
        trials: the trials of the sweep.
        where: the directory of the run.
        resume_args: those of the sweep file.
    """
    head = "Interrupted. Run the same command to resume"
    left = [trial for trial in trials if trial.attempts and not trial.state.ended and trial.state is not State.RUNNING]
    lost = [trial for trial in left if not (has_checkpoint(trial) or own_checkpoint(trial, resume_args))]
    kept = f": {where} has the checkpoints" if len(left) > len(lost) else ""
    if not lost:
        return f"{head}{kept}."
    if len(lost) == 1:
        return f"{head}{kept}. Trial {lost[0].number:04d}: {restart_text(lost[0])}."
    names = [f"{trial.number:04d}" for trial in lost[:MOST_LISTED]]
    names += [f"{len(lost) - MOST_LISTED} more"] if len(lost) > MOST_LISTED else []
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    restart = "they will start from step 0 unless their scripts find some of their own"
    return f"{head}{kept}. Trials {listed} saved no checkpoints through sweeper, so {restart}."
