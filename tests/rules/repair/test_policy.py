"""What a repair changes for each kind of failure, and from which step it continues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sweeper.record.derivation import REPAIR, START, Derivation
from sweeper.record.events import Plan
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING, Effect
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
    proposal,
)
from tests.rules.histories import Curve, Run, constant

NAMES = RepairedParameters(lr="lr", warmup="warmup", clip="clip", weight_decay="decay")
PARAMS: Mapping[str, Any] = {"lr": 1e-3, "warmup": 0.1, "clip": 5.0, "decay": 0.1, "width": 64}
CHECKPOINTS = {step: f"step-{step}" for step in (99, 199, 299, 399)}


def failure(diagnosis: str, **fields: Any) -> Failure:
    """A failure in the middle of 1,000 steps, which broke at step 350."""
    given = {"number": 7, "params": PARAMS, "step": 400, "broke": 350, "healthy_until": 310, "total_steps": 1000}
    return Failure(diagnosis=diagnosis, **{**given, **fields})


def sibling(number: int, *, learned: bool = True, **params: Any) -> Sibling:
    return Sibling(number=number, params={**PARAMS, **params}, learned=learned)


def found(given: Failure, *siblings: Sibling, **fields: Any) -> Derivation | NoRepair:
    checkpoints = fields.pop("checkpoints", CHECKPOINTS)
    settings = fields.pop("settings", RepairSettings(parameters=NAMES))
    recipe = RECIPES[given.diagnosis]
    situation = Situation(failure=given, recipe=recipe, siblings=siblings, settings=settings, **fields)
    return proposal(situation, checkpoints)


def repaired(given: Failure, *siblings: Sibling, **fields: Any) -> Derivation:
    result = found(given, *siblings, **fields)
    assert isinstance(result, Derivation), result
    return result


def refused(given: Failure, *siblings: Sibling, **fields: Any) -> str:
    result = found(given, *siblings, **fields)
    assert isinstance(result, NoRepair), result
    return result.reason


# ---- the table -------------------------------------------------------------------------------------------------------


def test_each_diagnosis_of_a_failure_has_a_recipe() -> None:
    failures = {name for name, kind in DIAGNOSES.items() if kind.effect is not Effect.INFORMS}
    assert set(RECIPES) == failures


@pytest.mark.parametrize("name", ["symmetric", "loss_mismatch", "input_scale", "unused_parameters", "overfitting"])
def test_nothing_is_changed_where_no_parameter_helps(name: str) -> None:
    assert refused(failure(name)) == RECIPES[name].nothing != ""


@pytest.mark.parametrize("name", [name for name in STOPPING if not RECIPES[name].nothing and name != "stuck"])
def test_every_other_diagnosis_that_stops_leads_to_a_repair(name: str) -> None:
    made = repaired(failure(name))
    assert (made.parent, made.by, made.diagnosis) == (7, REPAIR, name)
    assert made.changes
    assert made.reason.startswith(f"{name} at step 400, broke at about step 350: ")


# ---- the learning rate -----------------------------------------------------------------------------------------------


def test_without_siblings_the_learning_rate_is_a_third() -> None:
    made = repaired(failure("vanishing_gradient"))
    assert made.changes == {"lr": 3.3e-4}
    assert "lr=3.3e-4 instead of 1e-3 (a third of it)" in made.reason


def test_a_learning_rate_of_siblings_that_learned_is_taken_over() -> None:
    siblings = [
        sibling(1, lr=6e-4),  # more than half of it
        sibling(2, lr=3e-4),
        sibling(3, lr=3e-4),
        sibling(4, lr=3e-4, learned=False),
        sibling(5, lr=1e-5, learned=False),
    ]
    made = repaired(failure("vanishing_gradient"), *siblings)
    assert made.changes == {"lr": 3e-4}
    assert "(2 of 3 siblings learned with it)" in made.reason


def test_the_learning_rate_at_which_most_siblings_learned_counts_and_then_the_highest() -> None:
    half = [sibling(n, lr=4e-4, learned=n < 3) for n in range(1, 5)]
    surer = [sibling(n, lr=1e-4) for n in range(5, 8)]
    assert repaired(failure("diverged"), *half, *surer).changes["lr"] == 1e-4
    equal = [sibling(8, lr=4e-4), sibling(9, lr=1e-4)]
    assert repaired(failure("diverged"), *equal).changes["lr"] == 4e-4


def test_a_learning_rate_at_which_fewer_than_half_learned_is_no_example() -> None:
    few = [sibling(1, lr=3e-4), *(sibling(n, lr=3e-4, learned=False) for n in (2, 3))]
    made = repaired(failure("vanishing_gradient"), *few)
    assert "siblings learned" not in made.reason


def test_siblings_with_other_settings_are_not_compared() -> None:
    assert repaired(failure("vanishing_gradient"), sibling(1, lr=3e-4, width=1024)).changes == {"lr": 3.3e-4}
    assert repaired(failure("vanishing_gradient"), sibling(1, lr=3e-4, width=100)).changes == {"lr": 3e-4}


def test_a_value_at_which_siblings_failed_is_passed() -> None:
    made = repaired(failure("vanishing_gradient"), sibling(1, lr=3e-4, learned=False))
    assert made.changes == {"lr": 1.1e-4}
    assert "siblings failed at a value between" in made.reason


def test_the_size_of_the_updates_decides_how_much_lower() -> None:
    made = repaired(failure("diverged", largest_ratio=2.6))
    assert made.changes["lr"] == pytest.approx(1e-5)
    assert repaired(failure("diverged", largest_ratio=0.1)).changes["lr"] == pytest.approx(1e-4)


def test_what_broke_in_the_warmup_stays_below_the_rate_that_it_had_reached() -> None:
    made = repaired(failure("vanishing_gradient", ramp=0.4))
    assert made.changes["lr"] == pytest.approx(3e-4)
    assert "it broke in the warmup, at 0.4 of its peak" in made.reason
    assert repaired(failure("vanishing_gradient", ramp=0.9)).changes["lr"] == pytest.approx(5e-4)
    assert repaired(failure("dead_units", ramp=0.2)).changes["lr"] == pytest.approx(1.5e-4)
    assert repaired(failure("diverged", ramp=0.4)).changes["lr"] == pytest.approx(1e-4)
    large = failure("vanishing_gradient", ramp=0.4, largest_ratio=0.26)
    assert repaired(large).changes["lr"] == pytest.approx(1e-4)


def test_a_run_that_is_not_finite_at_once_gets_a_hundredth() -> None:
    assert repaired(failure("non_finite", broke=10, step=20)).changes["lr"] == pytest.approx(1e-5)
    assert repaired(failure("non_finite")).changes["lr"] == pytest.approx(1e-4)
    assert repaired(failure("non_finite", broke=10, largest_ratio=260.0)).changes["lr"] == pytest.approx(1e-7)


def test_frozen_weights_get_a_higher_learning_rate_from_the_start() -> None:
    made = repaired(failure("frozen", peak_ratio=1.1e-5))
    assert made.changes == {"lr": 1.0}
    assert (made.step, made.checkpoint, made.lr_factor) == (START, "", 1.0)
    assert repaired(failure("frozen")).changes == {"lr": 0.01}
    assert repaired(failure("frozen", peak_ratio=0.1)).changes == {"lr": 3e-3}
    assert repaired(failure("frozen", peak_ratio=0.1), depth=1).changes == {"lr": 0.01}
    assert repaired(failure("frozen"), sibling(1, lr=0.05)).changes == {"lr": 0.05}
    assert "only one of several networks" in refused(failure("frozen", one_network=True))


def test_a_learning_rate_that_nobody_uses_is_not_tried() -> None:
    drowned = failure("frozen", peak_ratio=1.1e-11, params={**PARAMS, "lr": 0.1})
    assert "would need a learning rate of 1e+08, above the 10" in refused(drowned)
    assert repaired(drowned, sibling(1, lr=50.0)).changes == {"lr": 50.0}
    allowed = RepairSettings(parameters=NAMES, domains={"lr": Domain(low=0.1, high=1e9)})
    assert repaired(drowned, settings=allowed).changes == {"lr": 1e8}
    assert repaired(failure("frozen", params={**PARAMS, "lr": 20.0})).changes == {"lr": 200.0}
    assert repaired(failure("frozen", peak_ratio=1.1e-6, params={**PARAMS, "lr": 1e-9})).changes == {"lr": 1e-5}


@pytest.mark.parametrize("ratio", [1e6, 1e16, 1e300, float("inf")])
def test_an_update_that_exploded_does_not_say_how_much_lower(ratio: float) -> None:
    made = repaired(failure("non_finite", largest_ratio=ratio))
    assert made.changes["lr"] == pytest.approx(1e-5)
    assert "times the weights" in made.reason
    assert repaired(failure("non_finite", largest_ratio=2600)).changes["lr"] == pytest.approx(1e-8)


def test_a_stuck_run_goes_where_its_updates_or_its_siblings_say() -> None:
    usual = failure("stuck", travel=1.0, largest_ratio=0.02)
    assert refused(usual) == "its updates have the usual size, and no sibling learned with another learning rate"
    assert repaired(usual, sibling(1, lr=1e-2)).changes == {"lr": 1e-2}
    assert repaired(usual, sibling(1, lr=1e-4)).changes == {"lr": 1e-4}
    assert repaired(replace(usual, travel=0.011, peak_ratio=1e-3)).changes == {"lr": 0.011}
    assert repaired(replace(usual, largest_ratio=0.26)).changes == {"lr": 1e-4}


# ---- warmup, clipping, weight decay ----------------------------------------------------------------------------------


def early(diagnosis: str = "vanishing_gradient", **params: Any) -> Failure:
    """A failure in the first tenth."""
    return failure(diagnosis, step=110, broke=90, healthy_until=-1, params={**PARAMS, **params})


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.1, 0.3), (0.0, 0.1), (0.3, 0.5), (0.6, 0.6), (100, 300), (400, 500)],
)
def test_a_run_that_broke_in_its_warmup_gets_a_longer_one(before: float, after: float) -> None:
    assert repaired(early(warmup=before)).changes.get("warmup", before) == after


def test_a_warmup_in_epochs_is_three_times_as_long() -> None:
    settings = RepairSettings(parameters=RepairedParameters(lr="lr", warmup="warmup_epochs"))
    given = early(warmup_epochs=2)
    assert repaired(given, settings=settings).changes["warmup_epochs"] == 6
    assert repaired(early(warmup_epochs=0), settings=settings).changes["warmup_epochs"] == 1


def test_a_run_that_broke_late_keeps_its_warmup() -> None:
    assert "warmup" not in repaired(failure("vanishing_gradient")).changes


def test_the_warmup_of_the_siblings_is_taken_over() -> None:
    made = repaired(early(), sibling(1, lr=3e-4, warmup=0.7))
    assert made.changes == {"lr": 3e-4, "warmup": 0.7}
    assert "warmup" not in repaired(early(), sibling(1, lr=3e-4, warmup=0.1)).changes


def test_a_longer_warmup_that_would_have_ended_before_the_checkpoint_is_left_out() -> None:
    given = failure("vanishing_gradient", broke=140, healthy_until=130, params={**PARAMS, "warmup": 0.1})
    made = repaired(given, checkpoints={120: "step-120"})
    assert (made.step, made.changes["warmup"]) == (120, 0.3)
    late = replace(given, healthy_until=320)
    assert "warmup" not in repaired(late, checkpoints={310: "step-310"}).changes


def test_the_gradient_is_clipped_at_what_was_usual_before() -> None:
    norms = [float(n) for n in range(1, 11)]
    assert repaired(failure("diverged", norms=norms, params={**PARAMS, "clip": 0})).changes["clip"] == 10
    assert repaired(failure("diverged", norms=[0.1 * n for n in norms])).changes["clip"] == 1.0
    assert "clip" not in repaired(failure("diverged", norms=[10.0] * 9)).changes  # it is clipped at 5 already
    assert "clip" not in repaired(failure("diverged")).changes
    assert repaired(failure("diverged", params={**PARAMS, "clip": None})).changes["clip"] == 1.0
    assert "clip" not in repaired(failure("vanishing_gradient", norms=[0.1] * 9)).changes


def test_too_much_weight_decay_is_lowered_and_nothing_else() -> None:
    assert repaired(failure("over_regularised")).changes == {"decay": 0.01}
    assert repaired(failure("over_regularised"), depth=1).changes == {"decay": 0.001}
    assert "the weight decay has no value" in refused(failure("over_regularised", params={**PARAMS, "decay": 0}))


def test_without_a_parameter_to_change_there_is_no_repair() -> None:
    settings = RepairSettings(parameters=RepairedParameters(clip="clip"))
    assert refused(failure("frozen"), settings=settings) == "the sweep has no parameter for the learning rate"
    assert "the learning rate or the warmup" in refused(failure("vanishing_gradient"), settings=settings)


# ---- where no parameter helps this run -------------------------------------------------------------------------------


def test_what_held_before_any_update_is_not_repaired() -> None:
    assert "the architecture or the initialization" in refused(failure("vanishing_gradient", from_start=True))
    assert "the output layer, the loss or the wiring" in refused(failure("no_gradient", from_start=True))
    assert "the initialization or the inputs" in refused(failure("dead_units", from_start=True))
    assert "only a part of the weights" in refused(failure("no_gradient", partial=True))


# ---- the domain ------------------------------------------------------------------------------------------------------


def test_a_value_of_the_sweep_is_taken_where_one_is_near() -> None:
    domain = Domain(values=(3e-4, 1e-3), text="3e-4 or 1e-3")
    settings = RepairSettings(parameters=NAMES, domains={"lr": domain})
    made = repaired(failure("vanishing_gradient"), settings=settings)
    assert made.changes == {"lr": 3e-4}
    assert "outside" not in made.reason


def test_a_value_outside_of_the_sweep_is_said_to_be() -> None:
    domain = Domain(values=(1e-3,), text="the constant 1e-3")
    settings = RepairSettings(parameters=NAMES, domains={"lr": domain})
    made = repaired(failure("vanishing_gradient"), settings=settings)
    assert made.changes == {"lr": 3.3e-4}
    assert made.reason.endswith("; lr=3.3e-4 is outside of the sweep's values (the constant 1e-3)")


def test_whole_numbers_stay_whole() -> None:
    made = repaired(early(warmup=33))
    assert made.changes["warmup"] == 100
    assert type(made.changes["warmup"]) is int


# ---- the checkpoint --------------------------------------------------------------------------------------------------


def test_the_newest_checkpoint_before_the_failure_is_taken() -> None:
    made = repaired(failure("collapsed"))
    assert (made.step, made.checkpoint) == (299, "step-299")
    assert made.changes == {"lr": 3.3e-4}
    assert made.lr_factor == pytest.approx(0.33)
    assert "goes back to step 299 with" in made.reason


def test_without_a_healthy_checkpoint_it_begins_at_the_start() -> None:
    made = repaired(failure("collapsed", healthy_until=90))
    assert (made.step, made.checkpoint, made.lr_factor) == (START, "", 1.0)
    assert "begins again with" in made.reason


def test_a_second_repair_goes_further() -> None:
    before = Derivation(parent=3, step=199, checkpoint="step-199", by=REPAIR)
    made = repaired(failure("vanishing_gradient"), before=before, depth=1)
    assert made.changes["lr"] == pytest.approx(3.3e-4)
    assert "the last repair was not enough" not in made.reason  # it is a third again, as after the first failure
    ramp = failure("vanishing_gradient", ramp=0.7)
    assert repaired(ramp, before=before, depth=1).changes["lr"] == pytest.approx(3.3e-4)
    assert repaired(failure("diverged", largest_ratio=0.16), before=before, depth=1).changes["lr"] == pytest.approx(
        1e-4
    )
    assert made.step == START
    assert "the checkpoint of the last repair did not hold" in made.reason
    held = repaired(failure("vanishing_gradient", broke=800, healthy_until=750), before=before, depth=1)
    assert held.step == 399


# ---- how a run failed ------------------------------------------------------------------------------------------------


def failed(run: Run, diagnosis: str, step: int, **evidence: Any) -> Failure:
    return failure_of(7, PARAMS, run.events(), diagnosis=diagnosis, step=step, evidence=evidence)


def test_a_failure_begins_before_its_diagnosis() -> None:
    gone: Curve = lambda step: 0.5 if step < 200 else 1e-5  # noqa: E731 - a curve
    made = failed(Run(reach=gone), "vanishing_gradient", 300, since=260, threshold=0.005)
    assert made.broke == 200
    assert made.healthy_until == 200 - 30  # a twentieth of the plan of 600 steps
    assert not made.from_start
    assert len(made.norms) == 18


def test_a_single_observation_that_is_not_low_does_not_end_the_failure() -> None:
    gone: Curve = lambda step: 0.5 if step < 200 or step == 250 else 1e-5  # noqa: E731 - a curve
    assert failed(Run(reach=gone), "vanishing_gradient", 300, since=290).broke == 200


def test_the_evidence_can_say_that_it_began_earlier() -> None:
    assert failed(Run(), "collapsed", 300, since=280, at=150).broke == 150
    assert failed(Run(), "vanishing_gradient", 300, since=280, window=[[240, 0.1], [250, 0.1]]).broke == 240
    assert failed(Run(), "diverged", 300).broke == 300


def test_updates_in_a_warmup_are_measured_at_the_peak() -> None:
    rising: Curve = lambda step: 1e-3 * (step + 1) / 600  # noqa: E731 - a curve
    run = Run(rate=rising, ratio=lambda step: 0.01 * (step + 1) / 600)
    assert failed(run, "frozen", 100, since=20).largest_ratio == pytest.approx(0.01 * 101 / 600)
    made = failure_of(
        7, PARAMS, [Plan(total_steps=600, peak_lr=1e-3), *run.events()[1:]], diagnosis="frozen", step=100, evidence={}
    )
    assert made.peak_ratio == pytest.approx(0.01)


@pytest.mark.parametrize(("peak", "share"), [(1e-3, 0.2), (2e-3, 0.1), (None, 0.2 / 0.5)])
def test_the_learning_rate_when_it_broke_is_a_share_of_the_peak(peak: float | None, share: float) -> None:
    run = Run(rate=lambda step: 1e-3 * (step + 1) / 600, reach=lambda step: 0.5 if step < 120 else 1e-5)
    plan = Plan(total_steps=600) if peak is None else Plan(total_steps=600, peak_lr=peak)
    history = [plan, *run.events()[1:]]
    made = failure_of(7, PARAMS, history, diagnosis="vanishing_gradient", step=300, evidence={"since": 280})
    assert made.broke == 120
    assert made.ramp == pytest.approx(share, rel=0.02)  # without a plan, the highest so far counts


def test_a_run_that_broke_after_its_warmup_has_no_ramp() -> None:
    run = Run(rate=lambda step: 1e-3 * min(1, (step + 1) / 100), reach=lambda step: 0.5 if step < 120 else 1e-5)
    assert math.isnan(failed(run, "vanishing_gradient", 300, since=280).ramp)


def test_what_is_later_than_the_decision_is_not_read() -> None:
    late: Curve = lambda step: 9.0 if step > 300 else 0.01  # noqa: E731 - a curve
    assert failed(Run(ratio=late), "diverged", 300, since=280).largest_ratio == pytest.approx(0.01)


def test_a_gradient_that_never_reached_the_first_layers_is_no_matter_of_the_learning_rate() -> None:
    made = failed(Run(reach=constant(1e-4)), "vanishing_gradient", 50, since=20, threshold=0.005)
    assert made.from_start
    assert made.healthy_until == -1


def test_updates_that_are_lost_to_rounding_are_measured_by_the_resolution() -> None:
    made = failed(Run(ratio=constant(0.0)), "frozen", 50, since=20, median=0.0, resolution=1e-6)
    assert made.peak_ratio == pytest.approx(5e-7)
