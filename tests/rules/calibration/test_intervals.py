"""The exact interval of a count: against closed forms, published values and its own definition."""

from __future__ import annotations

import math

import pytest

from sweeper.rules.calibration.intervals import clopper_pearson

ORACLES = [
    # k, n, confidence, low, high: scipy.stats.binomtest(k, n).proportion_ci(confidence, "exact"), SciPy 1.17.1
    (0, 11, 0.95, 0, 0.284914152918),
    (0, 11, 0.9, 0, 0.238404190381),
    (1, 10, 0.95, 0.00252857854446, 0.445016117028),
    (5, 10, 0.95, 0.187086028447, 0.812913971553),
    (8, 10, 0.95, 0.443904537692, 0.974789273673),
    (13, 13, 0.95, 0.752947361999, 1),
    (19, 23, 0.99, 0.54663498338, 0.969171665037),
    (10, 100, 0.95, 0.0490046892215, 0.17622259774),
    (3, 1000, 0.95, 0.00061909993165, 0.00874202323866),
    (997, 1000, 0.95, 0.991257976761, 0.999380900068),
]


@pytest.mark.parametrize(("k", "n", "confidence", "low", "high"), ORACLES)
def test_the_interval_is_that_of_an_independent_implementation(
    k: int, n: int, confidence: float, low: float, high: float
) -> None:
    assert clopper_pearson(k, n, confidence) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize("n", [1, 2, 11, 36, 500])
def test_zero_and_all_successes_have_a_closed_form(n: int) -> None:
    bound = 1 - 0.025 ** (1 / n)
    assert clopper_pearson(0, n) == pytest.approx((0.0, bound), abs=1e-12)
    assert clopper_pearson(n, n) == pytest.approx((1 - bound, 1.0), abs=1e-12)


def test_the_one_sided_bound_is_an_end_of_the_two_sided_interval_at_90_percent() -> None:
    assert clopper_pearson(0, 11)[1] == pytest.approx(0.2849, abs=5e-5)
    assert clopper_pearson(0, 11, 0.90)[1] == pytest.approx(0.2384, abs=5e-5)


@pytest.mark.parametrize("p", [0.03, 0.3, 0.5, 0.9])
def test_the_coverage_is_at_least_the_confidence(p: float) -> None:
    n = 20
    covered = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k)
        for k in range(n + 1)
        if clopper_pearson(k, n)[0] <= p <= clopper_pearson(k, n)[1]
    )
    assert covered >= 0.95


def test_without_trials_the_interval_is_everything() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)])
def test_invalid_counts_are_refused(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected 0 <= k <= n"):
        clopper_pearson(k, n, confidence)
