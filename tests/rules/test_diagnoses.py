"""Each class of failure is diagnosed if it happens, and a healthy run is never stopped, however odd it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sweeper.config.model.sweep import EarlyStop, StopWhen
from sweeper.record.events import Observation, Parameters, Watching
from sweeper.rules import Objective, health_of, rule_of, rules_of
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING, Effect
from sweeper.rules.health import Change
from sweeper.rules.rule import first_decision
from sweeper.rules.signals.metric_names import held_out_loss, score, training_loss
from tests.rules.histories import ACTIVE, Curve, Run, constant, falling, noisy

STOPPING_CLASSES = frozenset(STOPPING)
LEARNS = falling(2.3, 0.1, 0.01)
CHANCE = noisy(constant(2.3), 0.05)


def timeline(run: Run, objective: Objective | None = None) -> list[Change]:
    health = health_of([], objective)
    state = health.start()
    for event in run.events():
        health.step(state, event)
    return list(state.timeline)


def begun(run: Run) -> dict[str, int]:
    """Return the diagnoses that began, with the step at which each first did."""
    found: dict[str, int] = {}
    for change in timeline(run):
        if change.holds:
            found.setdefault(change.diagnosis, change.step)
    return found


def failures(run: Run) -> set[str]:
    return {name for name in begun(run) if DIAGNOSES[name].effect is not Effect.INFORMS}


def after(step: int, curve: Curve, before: Curve) -> Curve:
    return lambda at: curve(at) if at >= step else before(at)


FAILING = {
    "non_finite": Run(
        losses={"loss/train": after(40, constant(math.nan), LEARNS)}, not_finite=after(40, constant(3), constant(0))
    ),
    "no_gradient": Run(
        losses={"loss/train": CHANCE}, norm=constant(0.0), reach=constant(math.nan), ratio=constant(0.0)
    ),
    "vanishing_gradient": Run(losses={"loss/train": CHANCE}, reach=constant(1e-5)),
    "symmetric": Run(losses={"loss/train": CHANCE}, weights={"equal_units": constant(1.0)}),
    "over_regularised": Run(losses={"loss/train": CHANCE}, weights={"norm": falling(10.0, 0.1, 0.02)}),
    "dead_units": Run(losses={"loss/train": CHANCE}, activations={**ACTIVE, "dead": 1.0, "dead_mean": 0.9}),
    "frozen": Run(losses={"loss/train": CHANCE}, ratio=constant(4e-9)),
    "diverged": Run(losses={"loss/train": after(60, noisy(constant(40.0), 2.0), LEARNS)}),
    "collapsed": Run(losses={"loss/train": after(300, CHANCE, LEARNS)}),
    "stuck": Run(losses={"loss/train": CHANCE}, scores={"accuracy/test": noisy(constant(0.1), 0.01)}),
    "input_scale": Run(losses={"loss/train": CHANCE}, activations={**ACTIVE, "input_scale": 255.0}),
    "saturated": Run(losses={"loss/train": CHANCE}, activations={**ACTIVE, "saturated": 0.97}),
    "loss_mismatch": Run(losses={"loss/train": CHANCE}, activations={**ACTIVE, "loss_mismatch": 1.0}),
    "unused_parameters": Run(
        losses={"loss/train": LEARNS}, parameters=Parameters(trained=100, unowned=900, names=("head.weight",))
    ),
    "overfitting": Run(
        losses={"loss/train": falling(2.3, 0.0, 0.02)},
        scores={"loss/test": lambda step: 2.3 - step / 100 if step < 100 else 1.3 + (step - 100) / 100},
    ),
    "oscillating": Run(losses={"loss/train": lambda step: 2.3 + 2.2 * (-1) ** step}),
    "converged": Run(losses={"loss/train": noisy(falling(2.3, 0.01, 0.05), 0.001)}),
}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_each_class_is_diagnosed_if_it_happens(name: str) -> None:
    assert name in begun(FAILING[name])


@pytest.mark.parametrize("name", STOPPING)
def test_a_stopping_class_decides_with_reason_and_evidence(name: str) -> None:
    run = FAILING[name]
    decision = first_decision(rule_of(DIAGNOSES[name]()), run.events())
    assert decision is not None
    assert decision.rule == name
    assert decision.reason
    assert decision.evidence


HEALTHY = {
    "learns": Run(losses={"loss/train": noisy(LEARNS, 0.1)}),
    "converged, and the weights hardly move any more": Run(
        losses={"loss/train": noisy(falling(2.3, 0.002, 0.05), 0.0005)},
        ratio=lambda step: 1e-2 * math.exp(-step / 50),
        reach=constant(1e-4),
    ),
    "memorised: a loss of exactly 0, without a gradient": Run(
        losses={"loss/train": after(200, constant(0.0), falling(2.3, 0.0, 0.05))},
        norm=after(200, constant(0.0), constant(1.0)),
        reach=after(200, constant(math.nan), constant(0.5)),
        ratio=after(200, constant(0.0), constant(1e-2)),
    ),
    "at its noise floor": Run(losses={"loss/train": noisy(falling(1.0, 0.7, 0.05), 0.05)}, ratio=constant(1e-4)),
    "a 6-layer net with a reach of one in a thousand": Run(
        losses={"loss/train": noisy(constant(2.3), 0.02)}, steps=250, layers=6, reach=constant(1e-3)
    ),
    "parity: at chance for two fifths of the plan": Run(
        losses={"loss/train": noisy(after(260, falling(0.69 * math.exp(5.2), 0.0, 0.02), constant(0.693)), 0.02)},
    ),
    "a long warmup": Run(
        losses={
            "loss/train": noisy(lambda step: 2.3 if step < 200 else 0.3 + 2.0 * math.exp(-(step - 200) / 100), 0.1)
        },
        ratio=lambda step: 1e-2 * min(1.0, (step + 1) / 420),
        rate=lambda step: 1e-3 * min(1.0, (step + 1) / 420),
    ),
    "a short fine-tuning, which moves the weights by three percent": Run(
        steps=150,
        plan=150,
        losses={"loss/train": noisy(lambda step: 0.7 if step < 30 else 0.2 + 0.5 * math.exp(-(step - 30) / 40), 0.03)},
        ratio=constant(2e-4),
        rate=constant(2e-5),
    ),
    "warm restarts": Run(losses={"loss/train": lambda step: 0.3 + 1.2 * math.exp(-(step % 150) / 30)}),
    "unfreezing: the gain of the new layers comes late": Run(
        losses={"loss/train": noisy(after(300, falling(6.0, 0.2, 0.01), constant(0.8)), 0.05)},
        scores={"accuracy/test": after(100, constant(0.7), constant(0.1))},
    ),
    "LoRA: half of the tensors start at zero and have no update ratio": Run(
        losses={"loss/train": noisy(falling(1.5, 0.3, 0.01), 0.05)},
        ratio=constant(math.nan),
        parameters=Parameters(trained=100, frozen=100_000, resolution=1.2e-7),
    ),
    "LoRA, as the units of its adapters are compared: they start at zero and come apart": Run(
        losses={"loss/train": noisy(falling(1.5, 0.3, 0.004), 0.05)},
        weights={"equal_units": lambda step: 0.5 if step < 10 else 0.0},
    ),
    "weights that start tiny, and stay at chance while they grow": Run(
        losses={"loss/train": noisy(after(200, falling(2.3 * math.exp(4), 0.1, 0.02), constant(2.3)), 0.02)},
        ratio=lambda step: 2.0 if step < 20 else 0.05,
        weights={"norm": lambda step: 0.01 * min(200.0, math.exp(step / 20))},
    ),
    "experts, most of which are never chosen": Run(
        losses={"loss/train": noisy(LEARNS, 0.1)}, weights={"without_gradient": constant(0.8)}
    ),
    "grokking: the weights shrink long after the loss is small": Run(
        losses={"loss/train": noisy(falling(4.5, 0.01, 0.05), 0.002)},
        weights={"norm": falling(30.0, 3.0, 0.01)},
    ),
    "mostly noise: little is to be learned, and the weights shrink to what is needed for that": Run(
        losses={"loss/train": noisy(falling(1.0, 0.88, 0.05), 0.02)},
        scores={"r2": falling(0.0, 0.12, 0.05)},
        weights={"norm": falling(10.0, 1.5, 0.02)},
    ),
    "parity, with a loss that the script rounds": Run(
        losses={"loss/train": lambda step: round(0.693 if step < 260 else 0.693 * math.exp(-(step - 260) / 50), 2)},
    ),
    "an actor with a learning rate of 0 until the critic is ready": Run(
        losses={"value_loss": falling(5.0, 1.0, 0.01)},
        scores={"return": lambda step: 20.0 if step < 100 else 20 + (step - 100) / 4},
        weights={"slowest": lambda step: 0.0 if step < 100 else 1e-3, "norm": constant(10.0)},
    ),
    "a loss that triples at first, without a warmup, and comes back": Run(
        losses={
            "loss/train": noisy(
                lambda step: 2.3 + 6 * math.exp(-((step - 15) ** 2) / 60) - 2.2 * (1 - math.exp(-step / 60)), 0.05
            )
        }
    ),
    "PPO: the policy loss means nothing, and the return climbs": Run(
        losses={
            "policy_loss": noisy(constant(0.0), 0.05),
            "value_loss": lambda step: 1 + step / 20,
            "entropy": constant(0.6),
        },
        scores={"return": lambda step: 20 + step / 4},
        reach=constant(1e-3),
    ),
    "a GAN with a rising generator loss": Run(
        losses={"d_loss": falling(1.4, 0.9, 0.01), "g_loss": lambda step: 0.7 + step / 150},
        reach=constant(math.nan),
    ),
    "WGAN: losses below zero that drift": Run(
        losses={"loss/critic": lambda step: -step / 100, "loss/generator": lambda step: step / 100},
        reach=constant(math.nan),
    ),
    "a gradient scaler that skips at first": Run(
        losses={"loss/train": LEARNS},
        not_finite=after(60, constant(0), constant(9)),
        skipped=after(60, constant(0), constant(10)),
    ),
    "a spike that comes back": Run(
        losses={"loss/train": lambda step: 2.3 * math.exp(-step / 100) + (12.0 if 100 <= step < 112 else 0.0)}
    ),
    "a loss that rises in its first steps": Run(
        losses={
            "loss/train": noisy(
                lambda step: 2.3 + 3 * math.exp(-((step - 12) ** 2) / 50) - 2.2 * (1 - math.exp(-step / 150)), 0.05
            )
        }
    ),
    "nothing is reported but what is watched": Run(),
    "nothing is watched": Run(losses={"loss/train": noisy(LEARNS, 0.1)}, watched=False),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_not_stopped(name: str) -> None:
    assert not failures(HEALTHY[name])


def test_a_run_without_a_plan_is_not_judged_by_a_share_of_it() -> None:
    assert "stuck" not in begun(replace(FAILING["stuck"], plan=None))


def test_a_logger_that_writes_zero_for_a_non_finite_loss_does_not_hide_it() -> None:
    run = Run(losses={"loss": after(40, constant(0.0), LEARNS)}, not_finite=after(40, constant(12), constant(0)))
    assert begun(run)["non_finite"] <= 60


def test_a_loss_that_is_not_finite_is_diagnosed_without_a_watch() -> None:
    run = Run(losses={"loss/train": after(4, constant(math.nan), LEARNS)}, watched=False)
    assert begun(run)["non_finite"] <= 40


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters(trained=0, frozen=500),
        Parameters(trained=0, unowned=500),
        Parameters(trained=0, foreign=9, unowned=9),
    ],
)
def test_a_script_that_trains_nothing_is_stopped(parameters: Parameters) -> None:
    events = Run(losses={"loss/train": CHANCE}, parameters=parameters).events()
    unobserved = [event for event in events if not isinstance(event, Observation | Watching)]
    decision = first_decision(rule_of(DIAGNOSES["no_gradient"]()), unobserved)
    assert decision is not None
    assert decision.step <= 60
    assert decision.reason.startswith("nothing is trained: ")


def test_a_script_that_never_steps_is_stopped() -> None:
    run = Run(losses={"loss/train": CHANCE})
    events = [event for event in run.events() if not isinstance(event, Observation | Watching)]
    decision = first_decision(rule_of(DIAGNOSES["no_gradient"]()), events)
    assert decision is not None
    assert "never stepped" in decision.reason


def test_gradients_accumulated_over_many_reported_steps_are_no_missing_steps() -> None:
    """The first optimizer step comes after 200 micro-batches, and each of them is reported as a step."""
    run = Run(losses={"loss/train": CHANCE})
    events = [
        event
        for event in run.events()
        if not isinstance(event, Observation | Watching) and getattr(event, "step", 0) < 200
    ]
    assert first_decision(rule_of(DIAGNOSES["no_gradient"]()), events) is None


def test_a_diagnosis_that_no_longer_holds_ends() -> None:
    run = Run(
        losses={"loss/train": noisy(after(300, falling(2.3 * math.exp(3), 0.1, 0.01), constant(2.3)), 0.02)},
        reach=after(250, constant(0.5), constant(1e-5)),
    )
    changes = [(change.diagnosis, change.holds) for change in timeline(run) if change.diagnosis == "vanishing_gradient"]
    assert changes == [("vanishing_gradient", True), ("vanishing_gradient", False)]


def test_without_early_stop_everything_is_diagnosed_and_nothing_is_stopped() -> None:
    assert first_decision(health_of([]), FAILING["no_gradient"].events()) is None


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        (["loss/train", "loss/test"], "loss/train"),
        (["train_loss", "val_loss"], "train_loss"),
        (["loss", "eval_loss", "grad_norm"], "loss"),
        (["loss/train", "loss/aux", "loss/kl"], "loss/train"),
        (["total_loss", "aux_loss", "router_z_loss"], "total_loss"),
        (["policy_loss", "value_loss", "entropy"], None),
        (["d_loss", "g_loss"], None),
        (["losses/qf1_loss", "losses/actor_loss", "charts/episodic_return"], None),
        (["loss_test"], None),
        (["trainLoss"], "trainLoss"),
        (["elbo", "kl"], "elbo"),
        (["accuracy"], None),
    ],
)
def test_the_training_loss_is_recognized_by_its_name(names: list[str], loss: str | None) -> None:
    assert training_loss(names) == loss
    assert training_loss(reversed(names)) == loss


def test_a_held_out_loss_and_a_score_are_recognized_by_name() -> None:
    names = ["loss/train", "eval_loss", "loss/prior", "accuracy/test", "accuracy/train"]
    assert held_out_loss(names) == "eval_loss"
    assert score(names) == "accuracy/test"
    assert score(["episode_return", "loss"]) == "episode_return"


def test_a_converged_run_is_ended_on_request_only() -> None:
    run = FAILING["converged"]
    asked, unasked = (rules_of(EarlyStop(stop_when=when), None)[0] for when in (StopWhen.CONVERGED, None))
    decision = first_decision(asked, run.events())
    assert decision is not None
    assert decision.rule == "converged"
    assert first_decision(unasked, run.events()) is None


def test_a_loss_of_single_examples_that_began_low_by_chance_has_not_diverged() -> None:
    """A batch of one: the first reports scatter by more than their mean, and the first of them were small."""
    single = noisy(constant(0.0), 1.0)
    learns = falling(14.0, 0.3, 0.004)
    run = Run(losses={"loss/train": lambda step: 0.7 if step in (0, 2) else learns(step) * single(step) ** 2})
    assert not STOPPING_CLASSES & begun(replace(run, activations={"scale": 1.0})).keys()


def test_a_vanished_gradient_is_diagnosed_although_the_last_layer_has_a_constant_input() -> None:
    run = Run(losses={"loss/train": CHANCE}, reach=constant(1e-6), activations={**ACTIVE, "spread": 1e-8})
    decision = first_decision(health_of([DIAGNOSES[name]() for name in STOPPING]), run.events())
    assert decision is not None
    assert decision.rule == "vanishing_gradient"


def test_the_reason_for_a_vanished_gradient_shows_the_reach_that_was_observed() -> None:
    """After three observations, ten times the largest one is compared with the threshold; that is not what is shown."""
    run = Run(losses={"loss/train": CHANCE}, reach=constant(2e-6))
    decision = first_decision(rule_of(DIAGNOSES["vanishing_gradient"]()), run.events())
    assert decision is not None
    assert decision.evidence["median"] == 2e-6
    assert "reach is 2.0e-06, below" in decision.reason


@pytest.mark.parametrize(("of_start", "flagged"), [(None, False), (0.1, True)])
def test_of_start_compares_reach_with_its_start(of_start: float | None, *, flagged: bool) -> None:
    run = Run(losses={"loss/train": CHANCE}, reach=after(100, constant(0.02), constant(0.5)))
    rule = rule_of(DIAGNOSES["vanishing_gradient"](**({} if of_start is None else {"of_start": of_start})))
    assert (first_decision(rule, run.events()) is not None) is flagged


DIVERGES = {"loss/train": after(40, CHANCE, after(10, noisy(constant(30.0), 1.0), CHANCE))}


@pytest.mark.parametrize(
    "run",
    [
        Run(losses=DIVERGES, norm=after(40, constant(0.0), constant(1.0)), ratio=constant(0.0)),
        Run(losses=DIVERGES, activations={**ACTIVE, "dead": 1.0, "dead_mean": 0.9}),
        Run(losses=DIVERGES, reach=after(40, constant(1e-5), constant(0.5))),
    ],
)
def test_consequences_of_a_blow_up_are_diagnosed_as_diverged(run: Run) -> None:
    stopping = [name for name in begun(run) if name in STOPPING_CLASSES]
    assert stopping[0] == "diverged"
    assert not {"no_gradient", "dead_units", "vanishing_gradient"} & set(stopping)


def test_the_reason_of_a_divergence_has_its_cause_and_its_consequence() -> None:
    run = Run(
        losses={"loss/train": CHANCE},
        ratio=lambda step: 4.0 if step == 0 else 1e-3,
        norm=after(10, constant(0.0), constant(1.0)),
    )
    decision = first_decision(rule_of(DIAGNOSES["diverged"]()), run.events())
    assert decision is not None
    assert "an update was 4 times the weights, and since then every gradient is exactly 0" in decision.reason


def test_most_of_the_weights_without_a_gradient_stop_a_run_that_gains_nothing() -> None:
    run = Run(losses={"loss/train": CHANCE}, missing=8, weights={"without_gradient": constant(0.9)})
    assert 60 <= begun(run)["no_gradient"] <= 200
    learning = replace(run, losses={"loss/train": LEARNS})
    assert "no_gradient" not in begun(learning)


def test_a_head_that_learns_slowly_on_detached_features_is_not_stopped() -> None:
    slow = noisy(falling(2.3, 0.8, 0.003), 0.05)
    assert (
        not STOPPING_CLASSES
        & begun(Run(losses={"loss/train": slow}, weights={"without_gradient": constant(0.95)})).keys()
    )


def test_one_of_two_networks_that_does_not_move_is_frozen() -> None:
    run = Run(scores={"modes": constant(1.0)}, weights={"slowest": constant(1e-9)})
    assert begun(run)["frozen"] <= 60


def test_a_penalty_in_the_reported_loss_does_not_hide_that_the_weights_vanish() -> None:
    run = Run(
        losses={"loss/train": noisy(falling(50.0, 2.3, 0.05), 0.02)},
        scores={"accuracy/test": constant(0.1)},
        weights={"norm": falling(10.0, 0.01, 0.05)},
    )
    assert "over_regularised" in begun(run)


def test_a_loss_that_does_not_change_at_all_is_stuck_early() -> None:
    run = Run(losses={"loss/train": lambda step: math.log(10) + 1e-8 * (step % 7)})
    assert begun(run)["stuck"] <= 220


@pytest.mark.parametrize("name", ["symmetric", "over_regularised"])
def test_a_diagnosis_does_not_fire_without_the_values_that_it_reads(name: str) -> None:
    assert name not in begun(replace(FAILING[name], weights={}))
