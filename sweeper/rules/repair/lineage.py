"""Which trials of a sweep are repaired now, and how; from the records of the trials alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sweeper.record.derivation import POPULATION, REPAIR, Derivation
from sweeper.record.events import Event
from sweeper.record.trial import TrialRecord
from sweeper.rules.repair.failure import failure_of
from sweeper.rules.repair.policy import NoRepair, proposal
from sweeper.rules.repair.recipes import RECIPES
from sweeper.rules.repair.siblings import is_stopped_by_diagnosis, siblings_of
from sweeper.rules.repair.situation import RepairSettings, Situation


def derivation_of(trial: TrialRecord) -> Derivation | None:
    """Return how a trial was derived; None if it was not."""
    found = getattr(trial.facts, "derived", None)
    return found if isinstance(found, Derivation) else None


def depth_of(trial: TrialRecord, trials: Mapping[int, TrialRecord]) -> int:
    """Return how many repairs led to a trial, itself included.

    Args:
        trial: the trial.
        trials: all trials by number.
    """
    depth, seen, now = 0, set[int](), derivation_of(trial)
    while now is not None and now.parent not in seen:
        depth += now.by == REPAIR
        seen.add(now.parent)
        parent = trials.get(now.parent)
        now = None if parent is None else derivation_of(parent)
    return depth


def repairs(
    trials: Iterable[TrialRecord], settings: RepairSettings | None, given_up: Collection[int] = ()
) -> list[TrialRecord]:
    """Return the trials that are to be repaired now, in the order of their numbers.

    They were stopped by a diagnosis of a failure, and not by a person, a pruner or an interrupt. A trial that continues
    for the audit, or was revived, is not stopped and so not among them. No trial was derived from them yet, and fewer
    than `max_repairs` repairs led to them. The call reads the records only, so it is cheap enough for every tick:

        for trial in repairs(self.trials, self.repair, self.given_up):
            found = repair(trial, self.trials, self.repair, history=history(trial), checkpoints=checkpoints(trial))
            if isinstance(found, NoRepair):
                self.given_up.add(trial.number)     # say found.reason once; ask no more
            else:
                derive(trial, found)                # makes the trial, which is then the child of this one

    Args:
        trials: all trials of the sweep.
        settings: what the sweep allows (`config.repair_of`); None for no repairs.
        given_up: the numbers of trials for which `repair` returned `NoRepair`.
    """
    if settings is None:
        return []
    known = {trial.number: trial for trial in trials}
    made = (derivation_of(trial) for trial in known.values())
    parents = {one.parent for one in made if one is not None and one.by != POPULATION}
    return [
        trial
        for number, trial in sorted(known.items())
        if number not in parents
        and number not in given_up
        and is_stopped_by_diagnosis(trial)
        and depth_of(trial, known) < settings.max_repairs
    ]


def repair(
    trial: TrialRecord,
    trials: Iterable[TrialRecord],
    settings: RepairSettings,
    *,
    history: Iterable[Event],
    checkpoints: Mapping[int, str],
) -> Derivation | NoRepair:
    """Return how a stopped trial is tried again, or why no change of a parameter helps.

    Args:
        trial: a trial that a diagnosis stopped, such as `repairs` returns.
        trials: all trials of the sweep.
        settings: what the sweep allows.
        history: the events of the trial (`record.reader.history`).
        checkpoints: the names of the trial's checkpoints, by the step that each was saved after. Of a derived trial,
            that of its parent counts too, if it is linked there.

    Raises:
        ValueError: no diagnosis stopped the trial.
    """
    known = {one.number: one for one in trials}
    stop = trial.newest.stop
    if stop is None or stop.decision is None or stop.decision.rule not in RECIPES:
        message = f"expected a trial that a diagnosis stopped, got {trial.number:04d}"
        raise ValueError(message)
    decision = stop.decision
    failure = failure_of(
        trial.number,
        trial.facts.params,
        history,
        diagnosis=decision.rule,
        step=decision.step,
        evidence=decision.evidence,
    )
    situation = Situation(
        failure=failure,
        recipe=RECIPES[decision.rule],
        siblings=siblings_of(known.values()),
        settings=settings,
        before=derivation_of(trial),
        depth=depth_of(trial, known),
    )
    return proposal(situation, checkpoints)
