"""Conditions: which runs they flag, at which step and with which evidence."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import config
from sweeper.record.events import Event, Metrics, Observation, Plan, Watching
from sweeper.record.values.schedule import effective_lr
from sweeper.rules import ConditionRule, Decision, first_decision, rule_of
from sweeper.rules.base import compared
from sweeper.rules.conditions import CONDITIONS
from sweeper.rules.conditions.stalled import LowReach, NoGain

ALIVE, GONE = 0.5, 1e-4
EVERY, STEPS, PEAK = 10, 640, 1e-3


def reach_rule(*, below: float, of_start: float | None = None) -> ConditionRule:
    """Return the rule `vanishing_gradient` of sweeper 0.1.0, which reads reach and no loss."""
    condition = LowReach(below=below, of_start=of_start, window=5)
    return ConditionRule(condition=condition, grace_steps=60, patience=1, every=1, version="")


REACH_ALONE = reach_rule(below=0.03)
REACH_ONLY = config.Stalled(loss="none", ratio_of_start=None, window=1, patience=3, grace_steps=0)
"""`stalled` on reach alone, at single observations."""


def run(
    reach: Sequence[float] | float = ALIVE,
    *,
    loss: Sequence[float] | float = 1.0,
    coherence: Sequence[float] | float = 10.0,
    rate: Sequence[float] | float = PEAK,
    prior: float | None = None,
    norm: Sequence[float] | float = 1.0,
    zero: float = 0.0,
    observations: int = 64,
) -> list[Event]:
    """Return an observation and a report at every tenth step; `coherence` is the ratio over the learning rate."""
    columns = [
        [x] * observations if isinstance(x, int | float) else list(x) for x in (reach, loss, coherence, rate, norm)
    ]
    events: list[Event] = [Plan(total_steps=STEPS, peak_lr=PEAK)]
    for i, (r, value, c, lr, n) in enumerate(zip(*columns, strict=False)):
        step = EVERY * i
        events.append(
            Observation(
                step=step,
                row=i,
                reach=r,
                update_ratio=c * lr,
                learning_rate=lr,
                reaches=0 if r > 0.01 else 3,
                gradient_norm=n,
                gradient_zero=zero,
            )
        )
        values = {"loss/train": value} if prior is None else {"loss/train": value, "loss/prior": prior}
        events.append(Metrics(step=step, values=values))
    return events


def warmup_and_decay(warmup: float) -> list[float]:
    steps = [EVERY * i for i in range(64)]
    ramp = warmup * STEPS
    return [PEAK * ((s + 1) / ramp if s < ramp else (STEPS - s) / (STEPS - ramp)) for s in steps]


def renamed(event: Event) -> Event:
    return (
        Metrics(step=event.step, values={"loss": event.values["loss/train"]}) if isinstance(event, Metrics) else event
    )


def falling(begin: int, end: int, low: float, *, high: float = 1.38) -> list[float]:
    """Return a loss that is `high` until the observation `begin`, and `low` from the observation `end` on."""
    part = [min(1.0, max(0.0, (i - begin) / (end - begin))) for i in range(64)]
    return [high + (low - high) * p for p in part]


def verdict(settings: config.RuleSettings, events: Sequence[Event]) -> int | None:
    decision = first_decision(rule_of(settings), events)
    return None if decision is None else decision.step


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([ALIVE] * 64, None),
        ([ALIVE] * 8 + [GONE] * 20, 100),  # the median of five is low once three of them are
        ([ALIVE] * 30 + [GONE] * 34, 320),  # late, in a run that had begun to learn
        ([GONE] * 20, 60),  # low from the first observation, but not before the grace period
        ([ALIVE, ALIVE, GONE] * 20, None),  # dips in a run that learns
        ([ALIVE] * 10 + [GONE, GONE, ALIVE] * 10, 130),  # a leaky collapse
        ([GONE] * 4 + [ALIVE] * 50, None),  # a slow start
        ([math.nan] * 64, None),  # undefined: no verdict
        ([ALIVE] * 8 + [0.0] * 20, 100),
        ([ALIVE] * 4, None),
    ],
)
def test_reach_below_a_floor(values: list[float], step: int | None) -> None:
    decision = first_decision(REACH_ALONE, run(values))
    assert (decision.step if decision else None) == step


def test_reach_against_its_own_start() -> None:
    leaky = [0.5] * 5 + [0.02] * 59
    assert first_decision(reach_rule(below=0.005), run(leaky)) is None
    decision = first_decision(reach_rule(below=0.005, of_start=0.1), run(leaky))
    assert decision is not None
    assert decision.step == 70


# ---- stalled ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "events", "step"),
    [
        ("a stall", run([ALIVE] * 8 + [GONE] * 56, loss=1.38), 100),
        (
            "a stall with a leaking gradient",
            run([ALIVE] * 8 + [0.03] * 56, loss=1.38, coherence=[20.0] * 8 + [0.5] * 56),
            100,
        ),
        ("a learner", run(ALIVE, loss=falling(5, 60, 0.4)), None),
        ("a long warmup", run(0.05, loss=falling(30, 60, 0.4), rate=warmup_and_decay(0.7)), None),
        ("an untouched plateau with a living gradient", run(0.05, loss=1.38, rate=warmup_and_decay(0.7)), None),
        ("a decay tail", run(ALIVE, loss=falling(5, 40, 0.4), rate=warmup_and_decay(0.1)), None),
        (
            "one that learns and then collapses",
            run([ALIVE] * 30 + [GONE] * 34, loss=falling(5, 28, 1.0)[:30] + [1.38] * 34),
            320,
        ),
        ("a gradient that is gone while the loss still falls", run(GONE, loss=falling(0, 63, 0.4)), None),
        ("a run that reports no loss", [e for e in run(GONE) if not isinstance(e, Metrics)], 60),
        ("a run with another name for the loss", [renamed(e) for e in run(GONE, loss=falling(0, 63, 0.4))], None),
    ],
)
def test_stalled(name: str, events: list[Event], step: int | None) -> None:
    assert verdict(config.Stalled(), events) == step, name


def test_stalled_reads_the_given_loss() -> None:
    falls = run(GONE, loss=falling(0, 63, 0.4))
    assert verdict(config.Stalled(loss="none"), falls) == 60
    assert verdict(config.Stalled(loss="loss/train"), falls) is None
    assert verdict(config.Stalled(loss="another"), falls) is None  # a loss that was never reported cannot be checked


@pytest.mark.parametrize(
    ("names", "loss"),
    [
        (["loss/train", "loss/test"], "loss/train"),
        (["val_loss", "train_loss"], "train_loss"),
        (["eval_loss", "accuracy"], None),
        (["Loss"], "Loss"),
        (["loss/prior", "g_loss", "d_loss"], "g_loss"),
    ],
)
def test_the_training_loss_is_recognized_by_its_name(names: list[str], loss: str | None) -> None:
    condition = NoGain(metric=None, gain=0.02, window=5)
    state, _ = condition.step(condition.start(), Metrics(step=0, values=dict.fromkeys(names, 1.0)))
    assert state.metric == loss


def test_defaults_are_declared_in_the_settings_only() -> None:
    files = [importlib.import_module(f"sweeper.rules.conditions.{name}") for name in (*CONDITIONS, "combined")]
    kinds = {
        kind for file in files for kind in vars(file).values() if isinstance(kind, type) and hasattr(kind, "start")
    }
    made = [kind for kind in (*kinds, ConditionRule) if is_dataclass(kind)]
    assert len(made) == 9
    assert {one.name for kind in made for one in fields(kind) if one.default is not MISSING} == {"name"}


# ---- the other conditions --------------------------------------------------------------------------------------------


def test_update_ratio_considers_the_schedule() -> None:
    learner = run(rate=warmup_and_decay(0.7), coherence=10.0)
    ratios = [event.update_ratio for event in learner if isinstance(event, Observation)]
    assert min(ratios) < 3e-5
    assert verdict(config.UpdateRatio(low=1e-3), learner) is None
    assert verdict(config.UpdateRatio(low=1e-3, scheduled=False), learner) == 60
    assert verdict(config.UpdateRatio(high=1e-3), learner) == 60


def test_update_ratio_uses_the_highest_observed_rate_without_a_plan() -> None:
    events = [event for event in run(coherence=[10.0] * 10 + [0.01] * 54) if not isinstance(event, Plan)]
    assert verdict(config.UpdateRatio(of_start=0.1), events) == 120


def test_all_of_update_ratio_and_gradient() -> None:
    """Each of them may be low for another reason; both together show a stall."""
    pair = config.AllOf(of=(config.VanishingGradient(), config.UpdateRatio(of_start=0.1)), patience=3)
    assert verdict(pair, run(GONE)) is None
    assert verdict(pair, run(coherence=[10.0] * 10 + [0.01] * 54)) is None
    assert verdict(pair, run(GONE, coherence=[10.0] * 10 + [0.01] * 54)) == 140


def test_any_of_two() -> None:
    either = config.AnyOf(of=(config.VanishingGradient(), config.ZeroGradient()))
    assert verdict(either, run(zero=0.99)) == 60
    assert verdict(either, run(GONE)) == 60
    assert verdict(either, run()) is None


def test_exploding_gradient() -> None:
    assert verdict(config.ExplodingGradient(), run(norm=[1.0] * 20 + [500.0] + [1.0] * 43)) == 200
    assert verdict(config.ExplodingGradient(patience=2), run(norm=[1.0] * 20 + [500.0] + [1.0] * 43)) is None
    assert verdict(config.ExplodingGradient(patience=2), run(norm=[1.0] * 20 + [500.0] * 44)) == 210
    assert verdict(config.ExplodingGradient(above=5.0), run(norm=[1.0] * 20 + [6.0] * 44)) == 200
    assert verdict(config.ExplodingGradient(), run(norm=2.0)) is None


def test_a_step_that_a_scaler_skipped_is_no_explosion() -> None:
    events = run(norm=[1.0] * 20 + [math.inf] + [1.0] * 43)
    skipped = [
        Observation(**{**{f: getattr(e, f) for f in e.__dataclass_fields__}, "skipped": 1})
        if isinstance(e, Observation) and math.isinf(e.gradient_norm)
        else e
        for e in events
    ]
    for settings in (config.ExplodingGradient(), config.NonFinite(patience=1)):
        assert verdict(settings, events) == 200
        assert verdict(settings, skipped) is None


def test_zero_gradient() -> None:
    assert verdict(config.ZeroGradient(), run(zero=0.96)) == 60
    assert verdict(config.ZeroGradient(), run(zero=0.5)) is None


def test_non_finite() -> None:
    assert verdict(config.NonFinite(), run(loss=[1.0] * 4 + [math.nan] * 60)) is not None
    assert verdict(config.NonFinite(), run(loss=[1.0] * 4 + [math.nan] + [1.0] * 59)) is None
    assert verdict(config.NonFinite(metric="loss/test"), run(loss=math.nan, norm=1.0)) is None


@pytest.mark.parametrize("prior", [None, 1.386])
def test_plateau(prior: float | None) -> None:
    assert verdict(config.Plateau(grace_steps=200), run(loss=1.38, prior=prior)) == 200
    assert verdict(config.Plateau(grace_steps=200), run(loss=falling(2, 15, 1.0), prior=prior)) is None


def test_dividing_by_the_prior_removes_the_noise_of_the_examples() -> None:
    """The loss gains a tenth, and loss and prior have common noise of the same size."""
    noise = [0.15 * math.sin(7.0 * i) for i in range(64)]
    priors = {EVERY * i: 1.386 + shared for i, shared in enumerate(noise)}
    events = run(loss=[1.25 + shared for shared in noise])
    paired = [
        Metrics(step=event.step, values={**event.values, "loss/prior": priors[event.step]})
        if isinstance(event, Metrics)
        else event
        for event in events
    ]
    assert verdict(config.Plateau(gain=0.05), paired) is None
    assert verdict(config.Plateau(gain=0.05), run(loss=[1.25 + n for n in noise])) is not None


# ---- all conditions --------------------------------------------------------------------------------------------------


def test_every_skips_observations_that_are_closer_together() -> None:
    assert verdict(REACH_ONLY, run(GONE)) == 20
    assert verdict(REACH_ONLY.model_copy(update={"every": 50}), run(GONE)) == 100


def test_a_decision_has_a_reason_and_evidence() -> None:
    layers = tuple(f"layer.{i}" for i in range(8))
    watching = Watching(
        layers=layers, tensors=layers, sizes=(1,) * 8, layer_of=tuple(range(8)), statistics=("grad_norm",), every=10
    )
    decision = first_decision(REACH_ALONE, [watching, *run([ALIVE] * 8 + [GONE] * 20)])
    assert decision is not None
    evidence = decision.evidence
    assert evidence["window"] == [[60, ALIVE], [70, ALIVE], [80, GONE], [90, GONE], [100, GONE]]
    assert (evidence["median"], evidence["threshold"], evidence["at_start"]) == (GONE, 0.03, ALIVE)
    assert evidence["reaches"] == "layer 3 of 8 (layer.3), not 0"
    assert evidence["broke_at"] == 80
    assert evidence["would_have_continued"] == "with a threshold of at most 1.0e-04 instead of 0.03"
    assert evidence["learning_rate"] == evidence["effective_learning_rate"] == PEAK
    assert "no longer reaches the first layers" in decision.reason
    assert "steps 60 to 100 is 1.0e-04, below 0.03" in decision.reason
    assert "it gets only as far as layer 3 of 8, layer.3, since step 80" in decision.reason


def test_a_decision_has_the_evidence_of_all_conditions_that_hold() -> None:
    decision = first_decision(rule_of(config.Stalled()), run([ALIVE] * 8 + [GONE] * 56, loss=1.38))
    assert decision is not None
    assert decision.rule == "stalled"
    assert ", and loss/train has not improved: it is 1.38 over steps" in decision.reason
    assert decision.evidence["lowest_before"] == pytest.approx(1.38)


def test_the_effective_learning_rate_includes_a_missing_bias_correction() -> None:
    assert effective_lr(1.0, 11, (0.9, 0.999)) == pytest.approx(6.57, abs=0.01)
    assert effective_lr(1.0, 11) == 1.0
    assert effective_lr(1.0, 10**6, (0.9, 0.999)) == pytest.approx(1.0)


def test_a_decision_without_reason_or_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a reason and evidence"):
        Decision(rule="r", step=1, reason="", evidence={"a": 1})
    with pytest.raises(ValueError, match="needs a reason and evidence"):
        Decision(rule="r", step=1, reason="because", evidence={})


RULES = [
    config.Stalled(grace_steps=0),
    config.Stalled(loss="none", grace_steps=0),
    config.VanishingGradient(of_start=0.5, grace_steps=0),
    config.UpdateRatio(of_start=0.5, high=1.0, grace_steps=0),
    config.ExplodingGradient(times=1.5, window=3, grace_steps=0),
    config.NonFinite(patience=1),
    config.Plateau(window=3, grace_steps=0),
    config.AllOf(of=(config.VanishingGradient(), config.Plateau(window=2)), patience=2, grace_steps=0),
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1e-6, 1e-3, 0.1, 1.0, math.nan]),
            st.floats(0.1, 3.0) | st.just(math.nan),
            st.floats(0, 10),
        ),
        max_size=40,
    ),
    st.integers(0, 80),
    st.sampled_from(RULES),
)
def test_live_and_replayed_verdicts_are_equal(
    observations: list[tuple[float, float, float]], cut: int, settings: config.RuleSettings
) -> None:
    """A rule decides the same event by event and on the whole history."""
    columns = [list(column) for column in zip(*observations, strict=True)] or [[], [], []]
    events = run(columns[0], loss=columns[1], coherence=columns[2], observations=len(observations))
    rule = rule_of(settings)
    state, live = rule.start(), None
    for event in events[:cut] + events[cut:]:
        state, decision = rule.step(state, event)
        live = live or decision
    assert repr(live) == repr(first_decision(rule, events))


@given(st.lists(st.floats(min_value=0.03, max_value=10), max_size=60))
def test_reach_that_never_falls_below_the_threshold_is_never_flagged(values: list[float]) -> None:
    assert first_decision(REACH_ALONE, run(values)) is None


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_the_text_shows_whether_a_value_is_above_its_threshold(value: float, bound: float) -> None:
    shown, limit = map(float, compared(value, bound))
    assert (shown < limit, shown > limit) == (value < bound, value > bound)


@pytest.mark.parametrize(
    ("reach", "said"), [(4.97e-3, "is 4.97e-03, below 0.005"), (4.17e-3, "is 4.2e-03, below 0.005")]
)
def test_with_the_threshold_of_the_evidence_the_trial_continues(reach: float, said: str) -> None:
    decision = first_decision(rule_of(REACH_ONLY), run(reach))
    assert decision is not None
    assert said in decision.reason
    bound = re.search("at most (.*) instead", str(decision.evidence["would_have_continued"]))
    assert bound is not None
    assert verdict(REACH_ONLY.model_copy(update={"below": float(bound[1])}), run(reach)) is None
