"""Which trials of a sweep are repaired, and what their records say about the siblings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.decision import PERSON, Decision
from sweeper.record.derivation import POPULATION, REPAIR, Derivation
from sweeper.record.events import (
    AUDITED,
    PRUNED,
    Continued,
    Diagnosed,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Plan,
    Revived,
    Started,
    StopRequested,
)
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from sweeper.rules.repair import (
    NoRepair,
    RepairedParameters,
    RepairSettings,
    depth_of,
    repair,
    repairs,
    siblings_of,
)
from tests.rules.histories import Curve, Run

SETTINGS = RepairSettings(parameters=RepairedParameters(lr="lr"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedFacts(Facts):
    """Facts with a derivation."""

    derived: Derivation | None = None


def trial(
    number: int,
    *control: Event,
    ended: bool = True,
    completed: bool = False,
    values: tuple[float, ...] = (),
    derived: Derivation | None = None,
    **params: Any,
) -> TrialRecord:
    facts = DerivedFacts(
        number=number,
        configuration=number,
        seed=0,
        params={"lr": 1e-3, **params},
        shown={},
        command=(),
        metric="accuracy",
        maximize=True,
        derived=derived,
    )
    exit_ = Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
    record = TrialRecord(directory=SweepDir(Path("run")).trial(number), facts=facts)
    record = record.after([Launched(attempt=1, slot="cpu 0"), *control, *([exit_] if ended else [])])
    history: list[Event] = [Started(pid=1, host="here", attempt=1)]
    history += [Metrics(step=step, values={"accuracy": value}) for step, value in enumerate(values)]
    history += [Finished(outcome="completed")] if completed else []
    return record.with_history([HistoryEntry(1, at, event) for at, event in enumerate(history, 1)])


def stop(rule: str, cause: str = PRUNED) -> StopRequested:
    decision = Decision(rule=rule, step=300, reason="it failed", evidence={"since": 250, "threshold": 0.005})
    return StopRequested(attempt=1, cause=cause, decision=decision)


def child(number: int, parent: int, by: str = REPAIR, **fields: Any) -> TrialRecord:
    return trial(number, stop("diverged"), derived=Derivation(parent=parent, by=by), **fields)


def due(*trials: TrialRecord, settings: RepairSettings | None = SETTINGS, **fields: Any) -> list[int]:
    return [one.number for one in repairs(trials, settings, **fields)]


# ---- which trials are repaired ---------------------------------------------------------------------------------------


def test_a_trial_that_a_diagnosis_stopped_is_repaired() -> None:
    stopped = trial(3, stop("vanishing_gradient"))
    assert stopped.state is State.PRUNED
    assert due(trial(4, stop("diverged")), stopped) == [3, 4]
    assert due(stopped, settings=None) == []
    assert due(stopped, given_up={3}) == []


@pytest.mark.parametrize(
    "other",
    [
        trial(1, stop("diverged"), ended=False),
        trial(1, stop("median")),
        trial(1, stop("stalled")),
        trial(1, stop(PERSON)),
        trial(1, stop("converged", cause="converged")),
        trial(1, stop("diverged", cause="interrupted")),
        trial(1, completed=True),
        trial(1, stop("diverged"), Revived(attempt=1)),
        trial(
            1,
            Continued(
                attempt=1, cause=AUDITED, decision=Decision(rule="diverged", step=3, reason="r", evidence={"a": 1})
            ),
            completed=True,
        ),
    ],
    ids=["running", "pruner", "condition", "person", "converged", "interrupt", "complete", "revived", "audit"],
)
def test_no_other_trial_is_repaired(other: TrialRecord) -> None:
    assert due(other) == []


def test_a_trial_is_repaired_once_and_its_lineage_at_most_so_often() -> None:
    first = trial(0, stop("diverged"))
    assert due(first, child(1, 0)) == [1]
    assert due(first, child(1, 0), child(2, 1)) == []
    deeper = RepairSettings(parameters=SETTINGS.parameters, max_repairs=3)
    assert due(first, child(1, 0), child(2, 1), settings=deeper) == [2]


def test_a_child_of_a_person_counts_as_a_repair_and_one_of_a_population_does_not() -> None:
    first = trial(0, stop("diverged"))
    assert due(first, child(1, 0, by="ann")) == [1]  # whose own lineage has no repair yet
    assert due(first, child(1, 0, by=POPULATION)) == [0, 1]


def test_the_depth_counts_repairs_only_and_ends_in_a_circle() -> None:
    known = {one.number: one for one in (child(0, 2), child(1, 0), child(2, 1, by="ann"))}
    assert depth_of(known[1], known) == 2
    assert depth_of(trial(9), known) == 0


# ---- the siblings ----------------------------------------------------------------------------------------------------


def test_complete_trials_are_judged_by_each_other() -> None:
    trials = [
        trial(0, completed=True, values=(0.3, 0.9)),
        trial(1, completed=True, values=(0.3, 0.7)),
        trial(2, completed=True, values=(0.3, 0.4)),
        trial(3, stop("diverged"), values=(0.3, 0.9)),
        trial(4, ended=False, values=(0.3, 0.9)),
    ]
    assert {one.number: one.learned for one in siblings_of(trials)} == {0: True, 1: True, 2: False, 3: False}


def test_a_complete_trial_that_a_diagnosis_holds_for_has_not_learned() -> None:
    ill = Diagnosed(attempt=1, diagnosis="stuck", step=9, since=5, holds=True, reason="r", evidence={"a": 1})
    warned = Diagnosed(attempt=1, diagnosis="overfitting", step=9, since=5, holds=True, reason="r", evidence={"a": 1})
    trials = [trial(0, ill, completed=True, values=(0.3, 0.9)), trial(1, warned, completed=True, values=(0.3, 0.9))]
    assert [one.learned for one in siblings_of(trials)] == [False, True]


def test_without_a_gain_nothing_has_learned() -> None:
    trials = [trial(number, completed=True, values=(0.3, 0.3)) for number in range(3)]
    assert not any(one.learned for one in siblings_of(trials))


# ---- one repair, from the record -------------------------------------------------------------------------------------


def test_a_repair_follows_from_the_records() -> None:
    gone: Curve = lambda step: 0.5 if step < 200 else 1e-5  # noqa: E731 - a curve
    stopped = trial(0, stop("vanishing_gradient"))
    better = trial(1, completed=True, values=(0.3, 0.9), lr=4e-4)
    made = repair(
        stopped, [stopped, better], SETTINGS, history=Run(reach=gone).events(), checkpoints={150: "a", 180: "b"}
    )
    assert isinstance(made, Derivation)
    assert (made.parent, made.step, made.checkpoint, made.changes) == (0, 150, "a", {"lr": 4e-4})
    assert made.lr_factor == pytest.approx(0.4)
    assert made.reason == (
        "vanishing_gradient at step 300, broke at about step 200: goes back to step 150 with lr=4e-4 instead of "
        "1e-3 (1 of 1 siblings learned with it)"
    )


def test_a_second_repair_knows_the_first() -> None:
    first, second = trial(0, stop("diverged")), child(1, 0, lr=3e-4)
    made = repair(second, [first, second], SETTINGS, history=[Plan(total_steps=600)], checkpoints={})
    assert isinstance(made, Derivation)
    assert made.changes == {"lr": 3e-5}


def test_a_trial_that_no_parameter_mends_is_given_up_with_the_reason() -> None:
    stopped = trial(0, stop("symmetric"))
    made = repair(stopped, [stopped], SETTINGS, history=[], checkpoints={})
    assert isinstance(made, NoRepair)
    assert (made.number, made.diagnosis) == (0, "symmetric")
    assert "initialization" in made.reason


def test_only_a_trial_that_a_diagnosis_stopped_can_be_repaired() -> None:
    with pytest.raises(ValueError, match="0002"):
        repair(trial(2), [], SETTINGS, history=[], checkpoints={})
