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
    Ledger,
    WinnersLost,
    is_audited,
    pooled,
    rule_version,
    saved_steps,
    seed_of,
    winners_lost,
)
from sweeper.rules.calibration.intervals import clopper_pearson

LIMIT = 0.05
OUTCOMES = st.lists(st.booleans(), max_size=80)


def ledger(outcomes: Sequence[bool]) -> Ledger:
    return Ledger(version="stalled-0", outcomes=tuple(outcomes))


def counted(false_prunes: int, audits: int) -> Ledger:
    """The false prunes last, which speaks for the rule as long as can be."""
    return ledger([False] * (audits - false_prunes) + [True] * false_prunes)


# ---- the coin --------------------------------------------------------------------------------------------------------


def test_the_coin_shows_the_same_in_every_process() -> None:
    here = [is_audited(7, number, "stalled-0", 0.3) for number in range(50)]
    script = (
        "from sweeper.rules.calibration.audit import *; print([is_audited(7, n, 'stalled-0', 0.3) for n in range(50)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert there.stdout.strip() == str(here), there.stderr


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_the_coin_is_fair(rate: float) -> None:
    tosses = [is_audited(seed, number, rule, rate) for seed in range(20) for number in range(100) for rule in "ab"]
    deviation = math.sqrt(rate * (1 - rate) / len(tosses))
    assert abs(sum(tosses) / len(tosses) - rate) <= 4 * deviation


def test_each_of_seed_number_and_rule_has_a_coin_of_its_own() -> None:
    tosses = [[is_audited(s, n, r, 0.5) for n in range(64)] for s in (1, 2) for r in ("a-1", "a-2")]
    assert len({tuple(row) for row in tosses}) == 4
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
"""The versions that sweeper 0.1.0 recorded for rules whose decisions are now others, with the settings of then."""


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
    """The probability that `event(false prunes, audits)` holds after any of so many audits: all paths, added up."""
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


def test_sequences_that_are_drawn_break_and_clear_as_seldom() -> None:
    """The same of the ledger itself, by simulation: at most `DELTA`, and three standard deviations."""
    random_numbers = random.Random(20240501)
    broken, cleared, sequences = 0, 0, 400
    for _ in range(sequences):
        one = ledger([random_numbers.random() < LIMIT for _ in range(250)])
        broken += one.broken(LIMIT)
        prefixes = (ledger(one.outcomes[:n]) for n in range(50, 250, 5))
        cleared += any(prefix.all_clear(LIMIT) for prefix in prefixes)
    tolerated = sequences * DELTA + 3 * math.sqrt(sequences * DELTA * (1 - DELTA))
    assert broken <= tolerated
    assert cleared <= tolerated


def test_a_bad_rule_breaks_and_a_good_one_is_cleared() -> None:
    random_numbers = random.Random(7)
    bad = [ledger([random_numbers.random() < 0.4 for _ in range(60)]).broken(LIMIT) for _ in range(100)]
    good = [ledger([random_numbers.random() < 0.002 for _ in range(200)]).all_clear(LIMIT) for _ in range(100)]
    assert sum(bad) >= 95
    assert sum(good) >= 90


def test_how_many_audits_an_all_clear_takes() -> None:
    """As the module's table has it; with none failed, as few as for a fixed sample."""
    assert [k + counted(k, k).audits_needed(LIMIT) for k in range(4)] == [59, 186, 226, 266]
    assert clopper_pearson(0, 58, 0.9)[1] > LIMIT > clopper_pearson(0, 59, 0.9)[1]
    assert [counted(0, 0).audits_needed(limit) for limit in (0.01, 0.1)] == [301, 29]
    assert counted(0, 20).audits_needed(LIMIT) == 39
    assert counted(0, 60).audits_needed(LIMIT) == 0


def test_when_the_breaker_breaks() -> None:
    most = {k: max((n for n in range(k, 60) if counted(k, n).broken(LIMIT)), default=0) for k in range(5)}
    assert most == {0: 0, 1: 0, 2: 3, 3: 8, 4: 15}


def test_once_broken_stays_broken_while_an_all_clear_is_taken_back() -> None:
    assert ledger([True, True] + [False] * 1000).broken(LIMIT)
    assert counted(0, 59).all_clear(LIMIT)
    assert not counted(1, 60).all_clear(LIMIT)


@given(OUTCOMES, st.sampled_from([0.01, 0.05, 0.2]))
def test_bounds_lie_around_what_was_seen(outcomes: list[bool], delta: float) -> None:
    one = ledger(outcomes)
    seen = one.false_prunes / one.audits if one.audits else 0.5
    assert 0 <= one.lower_bound(delta) <= seen <= one.bound(delta) <= 1
    assert one.bound(0.01) >= one.bound(0.2)


@given(OUTCOMES)
def test_a_stall_speaks_for_the_rule_and_a_learner_against_it(outcomes: list[bool]) -> None:
    one = ledger(outcomes)
    for_it, against_it = one.and_(learner=False), one.and_(learner=True)
    assert for_it.bound() <= one.bound() <= against_it.bound()
    assert for_it.lower_bound() <= one.lower_bound() <= against_it.lower_bound()


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_bounds_do_not_depend_on_the_order(outcomes: list[bool], random_numbers: random.Random) -> None:
    shuffled = random_numbers.sample(outcomes, len(outcomes))
    assert ledger(outcomes).bound() == ledger(shuffled).bound()
    assert ledger(outcomes).lower_bound() == ledger(shuffled).lower_bound()
    assert ledger(outcomes).all_clear(LIMIT) == ledger(shuffled).all_clear(LIMIT)


@given(OUTCOMES, st.floats(0.005, 0.5))
def test_a_verdict_is_the_bound_against_the_limit(outcomes: list[bool], limit: float) -> None:
    one = ledger(outcomes)
    if not math.isclose(one.bound(), limit, rel_tol=1e-9):
        assert one.all_clear(limit) == (one.bound() < limit)
    prefixes = [ledger(outcomes[:n]).lower_bound() for n in range(1, len(outcomes) + 1)]
    highest = max(prefixes, default=0.0)
    if not math.isclose(highest, limit, rel_tol=1e-9):
        assert one.broken(limit) == (highest > limit)


def test_nothing_overflows() -> None:
    assert 0 < counted(0, 10**5).bound() < 1e-4
    assert counted(3000, 3000).lower_bound() > 0.99


def test_outcomes_are_pooled_by_version() -> None:
    arrived = [("a-1", False), ("b-1", True), ("a-1", True), ("a-1", False)]
    ledgers = pooled(arrived)
    assert ledgers["a-1"].outcomes == (False, True, False)
    assert ledgers["b-1"] == Ledger(version="b-1", outcomes=(True,))
    assert not pooled([])


@pytest.mark.parametrize(
    ("false_prunes", "audits", "text"),
    [
        (
            0,
            0,
            "false-prune rate unmeasured: no audit has ended (early_stop.audit lets some of the condemned run on)",
        ),
        (0, 12, "0 of 12 audited were learners: false-prune rate at most 23% (95%, anytime)"),
        (1, 40, "1 of 40 audited was a learner: false-prune rate at most 22% (95%, anytime)"),
        (0, 59, "0 of 59 audited were learners: false-prune rate at most 5% (95%, anytime)"),
        (0, 500, "0 of 500 audited were learners: false-prune rate at most 0.7% (95%, anytime)"),
        (2, 2, "2 of 2 audited were learners: false-prune rate at most 100% (95%, anytime)"),
    ],
)
def test_what_people_read(false_prunes: int, audits: int, text: str) -> None:
    assert counted(false_prunes, audits).text() == text


# ---- the sum ---------------------------------------------------------------------------------------------------------


def test_winners_lost() -> None:
    low, high = clopper_pearson(1, 10)
    assert winners_lost(10, 1, 40) == WinnersLost(estimate=4.0, low=40 * low, high=40 * high)
    assert winners_lost(0, 0, 40) is None
    nothing_pruned = winners_lost(10, 1, 0)
    assert nothing_pruned is not None
    assert nothing_pruned.high == 0
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        winners_lost(1, 2, 40)


def test_saved_steps() -> None:
    saved = saved_steps(pruned=[500, 300], audited=[400])
    assert (saved.condemned, saved.audits, saved.net) == (1200, 400, 800)
    assert saved_steps([], [1, 1, 1]).net == 0
