"""The audit: its coin, what its outcomes allow to say at any time, and what early stopping cost and saved."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper import config
from sweeper.rules.calibration import audit
from sweeper.rules.calibration.audit import (
    DELTA,
    AuditOutcomes,
    is_audited,
    pooled,
    rule_version,
    seed_of,
)
from sweeper.rules.calibration.intervals import clopper_pearson

LIMIT = 0.05
OUTCOMES = st.lists(st.booleans(), max_size=80)


def outcomes_of(outcomes: Sequence[bool]) -> AuditOutcomes:
    return AuditOutcomes(version="stalled-0", outcomes=tuple(outcomes))


def counted(false_stops: int, audits: int) -> AuditOutcomes:
    """Return outcomes with the false stops last, which is the most favourable order."""
    return outcomes_of([False] * (audits - false_stops) + [True] * false_stops)


# ---- the random assignment -------------------------------------------------------------------------------------------


def test_every_process_computes_the_same_assignment() -> None:
    here = [is_audited(7, number, "stalled-0", 0.3) for number in range(50)]
    script = (
        "from sweeper.rules.calibration.audit import *; print([is_audited(7, n, 'stalled-0', 0.3) for n in range(50)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert there.stdout.strip() == str(here), there.stderr


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_the_share_of_audited_trials_is_the_rate(rate: float) -> None:
    assigned = [is_audited(seed, number, rule, rate) for seed in range(20) for number in range(100) for rule in "ab"]
    deviation = math.sqrt(rate * (1 - rate) / len(assigned))
    assert abs(sum(assigned) / len(assigned) - rate) <= 4 * deviation


def test_the_assignment_depends_on_seed_number_and_rule() -> None:
    assigned = [[is_audited(s, n, r, 0.5) for n in range(64)] for s in (1, 2) for r in ("a-1", "a-2")]
    assert len({tuple(row) for row in assigned}) == 4
    assert seed_of("warmup") != seed_of("warmup-2")


@given(st.integers(0, 2**64), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_only_adds(seed: int, number: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert is_audited(seed, number, "r", low) <= is_audited(seed, number, "r", high)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_rate_is_a_part(rate: float) -> None:
    with pytest.raises(ValueError, match="expected a rate of 0 to 1"):
        is_audited(0, 0, "r", rate)


@pytest.mark.parametrize(
    ("rule", "version"),
    [
        (config.Stalled(), "stalled-af607b23"),
        (config.UpdateRatio(low=1e-5), "update_ratio-7768de5f"),
        (config.Threshold(lower=1.0), "threshold-3822e1ab"),
        (config.Patient(), "patient-39458e7a"),
        (config.Patient(wrapped=config.Median()), "patient-46ecb8b2"),
        (config.Plateau(), "plateau-7b57621a"),
        (config.ExplodingGradient(), "exploding_gradient-b410e726"),
        (config.ZeroGradient(), "zero_gradient-25841188"),
        (config.Median(), "median-7cbf5b74"),
        (config.OneEpoch(), "one_epoch-f1f91d4d"),
        (config.AnyOf(of=(config.Stalled(),)), "any-3bd0bc81"),
        (config.AllOf(of=(config.Stalled(), config.AnyOf(of=(config.ZeroGradient(),)))), "all-700c0bd5"),
    ],
)
def test_recorded_versions_stay_valid(rule: config.StopSettings, version: str) -> None:
    # Audit outcomes in existing records are pooled by these strings.
    assert rule_version(rule) == version


FORMER_REACH = config.VanishingGradient(grace_steps=60, patience=1, below=0.005, window=5)
FORMER_FINITE = config.NonFinite(grace_steps=0, patience=3, metric="loss/train")
OUTDATED = {
    "vanishing_gradient-132cc9a8": FORMER_REACH,
    "non_finite-3a72dde3": FORMER_FINITE,
    "any-4ffb6fcd": config.AnyOf(of=(FORMER_REACH,)),
    "all-5557db03": config.AllOf(of=(config.Stalled(), config.AnyOf(of=(FORMER_FINITE,)))),
}
"""The versions of sweeper 0.1.0 of rules that now decide differently, with their settings at that time."""


@pytest.mark.parametrize("version", OUTDATED)
def test_what_was_measured_of_the_former_rules_is_not_counted_for_the_diagnoses(version: str) -> None:
    assert rule_version(OUTDATED[version]) != version


def test_a_version_is_the_name_and_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    version = rule_version(config.Stalled())
    assert version.startswith("stalled-")
    assert version == rule_version(config.Stalled(below=0.005))
    others = {
        rule_version(config.Stalled(below=0.004)),
        rule_version(config.Stalled(patience=2)),
        rule_version(config.VanishingGradient()),
        rule_version(config.AllOf(of=(config.VanishingGradient(),))),
        rule_version(config.AnyOf(of=(config.VanishingGradient(),))),
    }
    monkeypatch.setattr(audit, "RULES_VERSION", audit.RULES_VERSION + 1)
    assert len({version, rule_version(config.Stalled()), *others}) == 7


# ---- the bounds ------------------------------------------------------------------------------------------------------


def ever(event: Callable[[int, int], bool], rate: float, audits: int) -> float:
    """Return the probability that `event(false stops, audits)` ever holds within the audits, summed over all paths."""
    alive, happened = {0: 1.0}, 0.0
    for n in range(1, audits + 1):
        after: dict[int, float] = {}
        for k, probability in alive.items():
            for more, part in ((0, 1 - rate), (1, rate)):
                after[k + more] = after.get(k + more, 0.0) + probability * part
        happened += sum(probability for k, probability in after.items() if event(k, n))
        alive = {k: probability for k, probability in after.items() if probability > 1e-9 and not event(k, n)}
    return happened


def reached(hits: int, misses: int, probability: float, bettors: Sequence[tuple[float, float]]) -> bool:
    return audit.log_capital(hits, misses, probability, bettors) >= -math.log(DELTA)


@pytest.mark.parametrize("limit", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("above", [1.0, 1.5])
def test_a_false_all_clear_is_rare_at_any_time(limit: float, above: float) -> None:
    """At a rate that is the limit, or above it. Exact, over 400 audits."""
    assert ever(lambda k, n: reached(k, n - k, limit, audit.DOUBTS_MANY), limit * above, 400) <= DELTA


@pytest.mark.parametrize("limit", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("below", [1.0, 0.5])
def test_a_false_alarm_is_rare_at_any_time(limit: float, below: float) -> None:
    assert ever(lambda k, n: reached(n - k, k, 1 - limit, audit.DOUBTS_FEW), limit * below, 400) <= DELTA


def test_a_bound_for_a_fixed_sample_would_not_do() -> None:
    enough = [59, 93, 124, 153]
    assert ever(lambda k, n: k < len(enough) and n >= enough[k], LIMIT, 160) > 1.5 * DELTA


def test_random_sequences_disable_and_clear_a_rule_as_rarely_as_promised() -> None:
    """Simulate outcomes: the rates are at most `DELTA` plus three standard deviations."""
    random_numbers = random.Random(20240501)
    disabled, cleared, sequences = 0, 0, 400
    for _ in range(sequences):
        one = outcomes_of([random_numbers.random() < LIMIT for _ in range(250)])
        disabled += one.was_above(LIMIT)
        prefixes = (outcomes_of(one.outcomes[:n]) for n in range(50, 250, 5))
        cleared += any(prefix.is_cleared(LIMIT) for prefix in prefixes)
    tolerated = sequences * DELTA + 3 * math.sqrt(sequences * DELTA * (1 - DELTA))
    assert disabled <= tolerated
    assert cleared <= tolerated


def test_a_bad_rule_is_disabled_and_a_good_rule_is_cleared() -> None:
    random_numbers = random.Random(7)
    bad = [outcomes_of([random_numbers.random() < 0.4 for _ in range(60)]).was_above(LIMIT) for _ in range(100)]
    good = [outcomes_of([random_numbers.random() < 0.002 for _ in range(200)]).is_cleared(LIMIT) for _ in range(100)]
    assert sum(bad) >= 95
    assert sum(good) >= 90


def test_the_number_of_audits_until_a_rule_is_cleared() -> None:
    """The numbers are those of the table in the module; without a false stop, as few as for a fixed sample."""
    assert [k + counted(k, k).audits_needed(LIMIT) for k in range(4)] == [59, 186, 226, 266]
    assert clopper_pearson(0, 58, 0.9)[1] > LIMIT > clopper_pearson(0, 59, 0.9)[1]
    assert [counted(0, 0).audits_needed(limit) for limit in (0.01, 0.1)] == [301, 29]
    assert counted(0, 20).audits_needed(LIMIT) == 39
    assert counted(0, 60).audits_needed(LIMIT) == 0


def test_the_number_of_false_stops_that_disables_a_rule() -> None:
    most = {k: max((n for n in range(k, 60) if counted(k, n).was_above(LIMIT)), default=0) for k in range(5)}
    assert most == {0: 0, 1: 0, 2: 3, 3: 8, 4: 15}


def test_a_disabled_rule_stays_disabled_but_a_cleared_rule_may_not_stay_cleared() -> None:
    assert outcomes_of([True, True] + [False] * 1000).was_above(LIMIT)
    assert counted(0, 59).is_cleared(LIMIT)
    assert not counted(1, 60).is_cleared(LIMIT)


@given(OUTCOMES, st.sampled_from([0.01, 0.05, 0.2]))
def test_the_bounds_enclose_the_observed_rate(outcomes: list[bool], delta: float) -> None:
    one = outcomes_of(outcomes)
    seen = one.false_stops / one.audits if one.audits else 0.5
    assert 0 <= one.lower_bound(delta) <= seen <= one.bound(delta) <= 1
    assert one.bound(0.01) >= one.bound(0.2)


@given(OUTCOMES)
def test_a_stall_lowers_the_bounds_and_a_learner_raises_them(outcomes: list[bool]) -> None:
    one = outcomes_of(outcomes)
    for_it, against_it = one.with_outcome(learner=False), one.with_outcome(learner=True)
    assert for_it.bound() <= one.bound() <= against_it.bound()
    assert for_it.lower_bound() <= one.lower_bound() <= against_it.lower_bound()


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_bounds_do_not_depend_on_the_order(outcomes: list[bool], random_numbers: random.Random) -> None:
    shuffled = random_numbers.sample(outcomes, len(outcomes))
    assert outcomes_of(outcomes).bound() == outcomes_of(shuffled).bound()
    assert outcomes_of(outcomes).lower_bound() == outcomes_of(shuffled).lower_bound()
    assert outcomes_of(outcomes).is_cleared(LIMIT) == outcomes_of(shuffled).is_cleared(LIMIT)


@given(OUTCOMES, st.floats(0.005, 0.5))
def test_the_decisions_follow_from_the_bounds(outcomes: list[bool], limit: float) -> None:
    one = outcomes_of(outcomes)
    if not math.isclose(one.bound(), limit, rel_tol=1e-9):
        assert one.is_cleared(limit) == (one.bound() < limit)
    prefixes = [outcomes_of(outcomes[:n]).lower_bound() for n in range(1, len(outcomes) + 1)]
    highest = max(prefixes, default=0.0)
    if not math.isclose(highest, limit, rel_tol=1e-9):
        assert one.was_above(limit) == (highest > limit)


def test_nothing_overflows() -> None:
    assert 0 < counted(0, 10**5).bound() < 1e-4
    assert counted(3000, 3000).lower_bound() > 0.99


def test_outcomes_are_pooled_by_version() -> None:
    arrived = [("a-1", False), ("b-1", True), ("a-1", True), ("a-1", False)]
    found = pooled(arrived)
    assert found["a-1"].outcomes == (False, True, False)
    assert found["b-1"] == AuditOutcomes(version="b-1", outcomes=(True,))
    assert not pooled([])


@pytest.mark.parametrize(
    ("false_stops", "audits", "text"),
    [
        (
            0,
            0,
            "false-stop rate unmeasured: no audit has ended (early_stop.audit lets some flagged trials continue)",
        ),
        (0, 12, "0 of 12 audited trials were learners: false-stop rate at most 23% (95%, anytime)"),
        (1, 40, "1 of 40 audited trials was a learner: false-stop rate at most 22% (95%, anytime)"),
        (0, 59, "0 of 59 audited trials were learners: false-stop rate at most 5% (95%, anytime)"),
        (0, 500, "0 of 500 audited trials were learners: false-stop rate at most 0.7% (95%, anytime)"),
        (2, 2, "2 of 2 audited trials were learners: false-stop rate at most 100% (95%, anytime)"),
    ],
)
def test_the_text_for_users(false_stops: int, audits: int, text: str) -> None:
    assert counted(false_stops, audits).text() == text
