"""Which trials were derived from which: the lineage of a sweep, and each step of it in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sweeper.record.derivation import POPULATION, REPAIR, START, Derivation
from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted_values
from sweeper.results.wording import brief, plain


def children_of(parent: TrialRecord, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that were derived from a trial, in the order of their numbers."""
    number = parent.facts.number
    return [one for one in trials if one.facts.derived is not None and one.facts.derived.sibling == number]


def ancestors_of(trial: TrialRecord, trials: Mapping[int, TrialRecord]) -> list[TrialRecord]:
    """Return the parent of a trial, the parent's parent, and so on, as far as their records are known."""
    found: list[TrialRecord] = []
    known = {trial.facts.number}
    while (parent := parent_of(trial, trials)) is not None and parent.facts.number not in known:
        known.add(parent.facts.number)
        found.append(parent)
        trial = parent
    return found


def parent_of(trial: TrialRecord, trials: Mapping[int, TrialRecord]) -> TrialRecord | None:
    """Return the parent of a trial; None if it is not derived, or the parent is not among these trials of its run."""
    derived = trial.facts.derived
    return None if derived is None or derived.sibling is None else trials.get(derived.sibling)


def derivation_text(derived: Derivation, parent: TrialRecord | None = None) -> str:
    """Return how a trial was derived, to follow "is": the parent, the step, what was changed, by whom and why.

    Args:
        derived: how it was derived.
        parent: the parent; with it, the text also has the values that were changed.
    """
    if derived.by == REPAIR and derived.diagnosis and derived.reason:  # the reason says what was changed
        return f"a repair of trial {derived.parent:04d}: {plain(derived.reason)}"
    where = "at the start" if derived.step == START else f"after step {derived.step}"
    before = {} if parent is None else redacted_values(parent.facts.params)
    changes = ", ".join(
        f"{plain(name)}={brief(value)}" + (f" (it was {brief(before[name])})" if name in before else "")
        for name, value in redacted_values(derived.changes).items()
    )
    made = {REPAIR: "a repair of", POPULATION: "a continuation of"}.get(derived.by, "derived from")
    by = f" by {plain(derived.by)}" if derived.by not in ("", REPAIR, POPULATION) else ""
    fresh = ", with a fresh optimizer state" if derived.fresh_optimizer else ""
    reason = f": {plain(derived.reason)}" if derived.reason else ""
    of = f" of {plain(derived.run)}" if derived.run else ""
    return f"{made} trial {derived.parent:04d}{of}{by}, {where}{f', with {changes}' if changes else ''}{fresh}{reason}"


def not_restored_text(trial: TrialRecord) -> str:
    """Return a sentence if the script of a derived trial began at the start, because it restores no checkpoint.

    A script that restores a checkpoint by itself has its first step after that of the checkpoint. Nothing is known
    before the first step.
    """
    if not trial.is_derived or (derived := trial.facts.derived) is None or derived.step == START:
        return ""
    progress = trial.progress
    if progress.resumed >= 0 or progress.first_step < 0 or progress.first_step > derived.step:
        return ""
    remedy = "Call `trial.restore()`, or pass `callback.resume()` to the Trainer"
    began = f"Trial {trial.facts.number:04d} began at the start"
    return f"{began}: its script did not restore the checkpoint of {derived.origin}. {remedy}"


def lineage_lines(trial: TrialRecord, siblings: Sequence[TrialRecord]) -> list[str]:
    """Return lines about where a trial comes from, and what was derived from it; none if neither is the case."""
    known = {one.facts.number: one for one in siblings}
    lines = []
    if (derived := trial.facts.derived) is not None:
        lines.append(f"It is {derivation_text(derived, parent_of(trial, known))}.")
        if not_restored_text(trial):
            lines.append("Its script did not restore the checkpoint: it began at the start.")
    if (event := trial.newest.not_repaired) is not None:
        lines.append(f"It is not repaired: {plain(event.reason)}.")
    for child in children_of(trial, siblings):
        how = child.facts.derived
        if how is not None:
            lines.append(f"Trial {child.facts.number:04d} ({child.state.value}) is {derivation_text(how, trial)}.")
    return lines
