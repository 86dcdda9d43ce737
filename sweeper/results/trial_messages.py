"""What the status of a sweep says of single trials, a list of lines each; None where there is nothing to say."""

from __future__ import annotations

from sweeper.record.trial import State, TrialRecord
from sweeper.results.damage import damage_lines
from sweeper.results.lineage import not_restored_text
from sweeper.results.receipt import cause_text, failure_of, last_output
from sweeper.results.wording import plain


def end_lines(trial: TrialRecord) -> list[str] | None:
    """Return why a trial failed, or why it will be restarted."""
    if trial.state is State.FAIL:
        return [f"{trial.number:04d} failed: {failure_of(trial)}{last_output(trial)}"]
    if trial.state is State.WAITING and trial.newest.number and trial.newest.stop is None:
        return [f"{trial.number:04d} will be restarted: {cause_text(trial.newest)}"]
    return None


def not_restored_lines(trial: TrialRecord) -> list[str] | None:
    """Return that a derived trial began at the start."""
    text = not_restored_text(trial)
    return [text] if text else None


def lines_on_damage(trial: TrialRecord) -> list[str] | None:
    """Return where the record of a trial is damaged, as `results.damage.damage_lines` has it."""
    return list(damage_lines([trial])) or None


def damaged_places(trial: TrialRecord) -> list[str] | None:
    """Return all places where the record of a trial is damaged."""
    return [plain(str(one)) for one in trial.damage] or None
