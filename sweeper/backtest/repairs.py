"""Which recorded trials would have been repaired, how, and what is known about the change from their siblings. Pure.

A repaired run was not recorded. So the outcome of a repair is not known, but the record may have siblings with nearly
the proposed parameters. How many of them learned is the evidence for it.

Every other trial of the run counts as a sibling with its outcome at the end, as if it had ended before. Checkpoints are
taken as saved `CHECKPOINTS` times in a plan.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.backtest.case import Case, Recording
from sweeper.record.derivation import START, Derivation
from sweeper.record.values.params import spelled
from sweeper.rules.calibration.intervals import clopper_pearson
from sweeper.rules.diagnoses import STOPPING
from sweeper.rules.health import Change
from sweeper.rules.repair import (
    RECIPES,
    Domain,
    Failure,
    NoRepair,
    RepairedParameters,
    RepairSettings,
    Sibling,
    Situation,
    failure_of,
    guessed,
    is_alike,
    is_near,
    proposal,
)

CHECKPOINTS = 20
LISTED = 10
"""A parameter with more different values counts as a range."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many of the siblings of a kind learned; each counts once, although several repairs may lead to it.

    Attributes:
        learned: the siblings that learned.
        count: the siblings.
    """

    learned: int
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95% interval of the share that learned (Clopper and Pearson)."""
        return clopper_pearson(self.learned, self.count)


@dataclass(frozen=True, kw_only=True)
class ReplayedRepair:
    """What a repair would have done to one recorded trial.

    Attributes:
        case: the trial.
        change: the diagnosis that would have stopped it.
        failure: how it failed, as the repair saw it; None if it was not looked at.
        outcome: whether the trial learned, when nothing stopped it; None if that is not known.
        found: the repair, or why there is none.
        like: the siblings with nearly the proposed parameters.
        same: the siblings with the parameters of the trial itself, which differ in the seed.
    """

    case: Case
    change: Change
    outcome: bool | None
    found: Derivation | NoRepair
    like: Sequence[Case] = ()
    same: Sequence[Case] = ()
    failure: Failure | None = None

    @property
    def cost(self) -> int:
        """The optimizer steps of the repaired trial, from its checkpoint to its end; 0 without a repair."""
        return self.case.planned - 1 - self.found.step if isinstance(self.found, Derivation) else 0

    @property
    def extra(self) -> int:
        """The steps that are done twice: from the checkpoint to the decision; 0 without a repair."""
        return self.change.step - self.found.step if isinstance(self.found, Derivation) else 0

    @property
    def saved(self) -> int:
        """The steps that a restart from step 0 would have done again."""
        return self.found.step + 1 if isinstance(self.found, Derivation) and self.found.step != START else 0


@dataclass(frozen=True, kw_only=True)
class RepairRun:
    """The repairs of one run.

    Attributes:
        recording: the run.
        parameters: the parameters that a repair may change.
        trials: those that a diagnosis would have stopped.
    """

    recording: Recording
    parameters: RepairedParameters
    trials: Sequence[ReplayedRepair]


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """The repairs of all runs."""

    runs: Sequence[RepairRun]

    @property
    def repaired(self) -> Sequence[ReplayedRepair]:
        """The trials that would have been repaired."""
        return [one for run in self.runs for one in run.trials if isinstance(one.found, Derivation)]

    @property
    def refused(self) -> Mapping[tuple[str, str], int]:
        """How many trials would not have been repaired, by diagnosis and reason."""
        every = [one.found for run in self.runs for one in run.trials]
        return Counter((one.diagnosis, one.reason) for one in every if isinstance(one, NoRepair))

    @property
    def like(self) -> Count:
        """How many of the siblings with nearly the proposed parameters of some repair learned."""
        return self._count("like")

    @property
    def same(self) -> Count:
        """How many of the siblings with the parameters of a repaired trial learned: a restart with another seed."""
        return self._count("same")

    def _count(self, kind: str) -> Count:
        learned = {
            (index, case.number): run.recording.is_learner(case)
            for index, run in enumerate(self.runs)
            for one in run.trials
            if isinstance(one.found, Derivation) and one.outcome is False
            for case in getattr(one, kind)
        }
        return Count(learned=sum(learned.values()), count=len(learned))


def replay_repairs(recordings: Iterable[Recording]) -> RepairReport:
    """Return what repairs would have done to the trials that `early_stop: auto` would have stopped."""
    return RepairReport(runs=[_run(recording) for recording in recordings])


def _run(recording: Recording) -> RepairRun:
    cases = recording.cases
    numeric = dict.fromkeys(name for case in cases for name, value in case.params.items() if _is_number(value))
    parameters, _ = guessed(numeric)
    domains = {name: _domain([case.params.get(name) for case in cases]) for name in parameters.names}
    settings = RepairSettings(parameters=parameters, domains=domains)
    trials = []
    for group in recording.siblings:
        for case in group:
            change = _stopping(recording, case)
            if change is not None:
                trials.append(_replayed(recording, case, change, group, settings))
    return RepairRun(recording=recording, parameters=parameters, trials=sorted(trials, key=lambda one: one.case.number))


def _stopping(recording: Recording, case: Case) -> Change | None:
    """Return the first diagnosis that stops the trial before its last step; None if there is none."""
    begun = recording.begun[case.number]
    return next((one for one in begun if one.diagnosis in STOPPING and one.step < case.steps - 1), None)


def _replayed(
    recording: Recording, case: Case, change: Change, group: Sequence[Case], settings: RepairSettings
) -> ReplayedRepair:
    failure = failure_of(
        case.number,
        case.params,
        case.events,
        diagnosis=change.diagnosis,
        step=change.step,
        evidence={"since": change.since, **change.evidence},
    )
    others = [other for other in group if other.number != case.number and recording.outcome(other) is not None]
    siblings = [Sibling(number=one.number, params=one.params, learned=recording.is_learner(one)) for one in others]
    every = max(1, case.planned // CHECKPOINTS)
    checkpoints = {step - 1: f"step-{step - 1:09d}" for step in range(every, change.step + 1, every)}
    situation = Situation(failure=failure, recipe=RECIPES[change.diagnosis], siblings=siblings, settings=settings)
    found = proposal(situation, checkpoints)
    names = settings.parameters.names
    proposed = {**case.params, **(found.changes if isinstance(found, Derivation) else {})}
    return ReplayedRepair(
        case=case,
        change=change,
        outcome=recording.outcome(case),
        found=found,
        like=_with(proposed, others, names) if isinstance(found, Derivation) else (),
        same=_with(case.params, others, names),
        failure=failure,
    )


def _with(params: Mapping[str, object], cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """Return the trials with about these parameters: those that a repair changes within a factor of 1.5."""
    return [
        case
        for case in cases
        if is_alike(case.params, params, names) and all(_near(case.params.get(n), params.get(n)) for n in names)
    ]


def _near(one: object, other: object) -> bool:
    if _is_number(one) and _is_number(other):
        return one == other or is_near(float(one), float(other))  # type: ignore[arg-type]  # checked just before
    return one == other


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _domain(given: Iterable[object]) -> Domain:
    """Return the values that a parameter has in a run; those of its sweep file may be more."""
    values = sorted({float(value) for value in given if _is_number(value)})  # type: ignore[arg-type]  # just checked
    if len(values) > LISTED:
        return Domain(low=values[0], high=values[-1], text=f"from {spelled(values[0])} to {spelled(values[-1])}")
    return Domain(values=tuple(values), text=" or ".join(spelled(value) for value in values))


# ---- for programs ------------------------------------------------------------------------------------------------


def repairs_to_json(report: RepairReport) -> dict[str, object]:
    """Return the report as JSON for programs; docs/reference/repair.md lists the keys."""
    repaired = report.repaired
    failed = [one for one in repaired if one.outcome is False]
    return {
        "stopped": sum(len(run.trials) for run in report.runs),
        "repaired": len(repaired),
        "repaired_failed": len(failed),
        "repaired_learners": sum(one.outcome is True for one in repaired),
        "steps": sum(one.cost for one in repaired),
        "extra_steps": sum(one.extra for one in repaired),
        "saved_steps": sum(one.saved for one in repaired),
        "siblings_like": _count(report.like),
        "siblings_same": _count(report.same),
        "not_repaired": [
            {"class": name, "reason": reason, "trials": count} for (name, reason), count in report.refused.items()
        ],
        "runs": [
            {
                "run": run.recording.name,
                "parameters": {role: name for role in ("lr", "warmup", "clip", "weight_decay")
                               if (name := getattr(run.parameters, role))},
                "trials": [_trial(run.recording, one) for one in run.trials],
            }
            for run in report.runs
        ],
    }  # fmt: skip


def _count(found: Count) -> dict[str, object]:
    return {"learned": found.learned, "of": found.count, "interval": list(found.interval)}


def _trial(recording: Recording, one: ReplayedRepair) -> dict[str, object]:
    body: dict[str, object] = {
        "number": one.case.number,
        "label": one.case.label,
        "seed": one.case.seed,
        "learned": one.outcome,
        "class": one.change.diagnosis,
        "stopped_at": one.change.step,
    }
    if isinstance(one.found, NoRepair):
        return body | {"repair": None, "reason": one.found.reason}
    learned = [case.number for case in one.like if recording.is_learner(case)]
    return body | {
        "repair": {
            "step": one.found.step if one.found.step != START else None,
            "changes": dict(one.found.changes),
            "lr_factor": one.found.lr_factor,
        },
        "reason": one.found.reason,
        "steps": one.cost,
        "extra_steps": one.extra,
        "saved_steps": one.saved,
        "siblings_like": {"learned": len(learned), "of": len(one.like)},
    }
