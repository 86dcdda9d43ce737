"""Outliers of a series: the arithmetic of spikes."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from sweeper.record.values.outliers import (
    FACTOR,
    MEAN_SIGMA,
    NORMAL,
    NORMAL_MEAN,
    SIGMA,
    WARMUP,
    WINDOW,
    MeanWindow,
    MedianWindow,
    MovingMean,
    Outlier,
    OutlierTest,
)


def noise(count: int) -> list[float]:
    generator = random.Random(3)
    return [generator.gauss(10, 1) for _ in range(count)]


def taken(test: OutlierTest, values: list[float]) -> list[Outlier | None]:
    return [test.take(value) for value in values]


def test_the_score_is_that_of_the_median_and_the_median_absolute_deviation() -> None:
    values = noise(500)
    test = MedianWindow()
    assert not any(taken(test, values))
    window = values[-WINDOW:]
    centre = statistics.median(window)
    scale = NORMAL * statistics.median(abs(value - centre) for value in window)
    found = test.take(30.0)
    assert found is not None
    assert (found.value, found.centre) == (30.0, centre)
    assert found.scale == pytest.approx(max(scale, statistics.stdev(window)))
    assert found.z == (30.0 - centre) / found.scale


def test_a_heavy_tail_has_no_outliers_by_the_standard_deviation() -> None:
    generator = random.Random(5)
    values = [math.exp(1.0 * generator.gauss(0, 1)) for _ in range(1000)]
    alone, default = MedianWindow(mad_alone=True), MedianWindow()
    by_mad = sum(one is not None for one in taken(alone, values))
    assert sum(one is not None for one in taken(default, values)) < by_mad / 4


def test_a_spike_does_not_hide_the_next_one() -> None:
    spikes = [1e6, 1e3, 100.0]
    test, plain = MedianWindow(), MeanWindow()
    taken(test, noise(WINDOW))
    taken(plain, noise(WINDOW))
    assert all(taken(test, spikes))
    assert not any(taken(plain, spikes)[1:])


def test_the_mean_window_is_that_of_olmo() -> None:
    test = MeanWindow()
    assert not any(taken(test, noise(300)))
    window = noise(300)[-WINDOW:]
    found = test.take(30.0)
    assert found is not None
    assert found.z == pytest.approx((30.0 - statistics.fmean(window)) / statistics.stdev(window))


def test_the_threshold_is_exclusive_and_one_sided() -> None:
    values = [0.0, 1.0] * (WINDOW // 2)  # a median of 0.5, and deviations of 0.5
    scale = NORMAL * 0.5  # larger than the standard deviation
    below, above = MedianWindow(), MedianWindow()
    taken(below, values)
    taken(above, values)
    assert below.take(0.5 + SIGMA * scale * 0.999999) is None
    assert above.take(0.5 + SIGMA * scale * 1.000001) is not None
    assert above.take(-1e9) is None


def test_nothing_finite_is_an_outlier_before_half_of_the_window_is_known() -> None:
    test = MedianWindow()
    assert not any(taken(test, noise(WINDOW // 2 - 1)))
    assert test.take(1e9) is None
    assert test.take(1e9) is not None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("known", [0, WINDOW])
@pytest.mark.parametrize("test", [MedianWindow, MovingMean])
def test_what_is_not_finite_always_is_an_outlier_and_is_forgotten(
    test: type[MedianWindow | MovingMean], known: int, value: float
) -> None:
    one, other = test(), test()
    taken(one, noise(known))
    taken(other, noise(known))
    found = one.take(value)
    assert found is not None
    assert found.z == math.inf
    assert one.take(11.0) == other.take(11.0)
    assert one.take(1e6) == other.take(1e6)


def test_a_loss_that_has_risen_for_good_is_usual_after_half_a_window() -> None:
    test = MedianWindow()
    taken(test, noise(WINDOW))
    found = taken(test, [value + 100 for value in noise(WINDOW)])
    assert found[0]
    assert not any(found[WINDOW // 2 :])


def test_equal_values_have_the_mean_deviation_as_their_scale() -> None:
    test = MedianWindow(mad_alone=True)
    taken(test, [1.0] * (WINDOW - 1) + [2.0])
    found = test.take(9.0)
    assert found is not None
    assert found.scale == NORMAL_MEAN / WINDOW
    constant = MedianWindow()
    taken(constant, [1.0] * WINDOW)
    assert constant.take(9.0) is None


def test_rounding_is_no_outlier() -> None:
    test = MedianWindow()
    taken(test, [1.0, 1.0 + 1e-12] * (WINDOW // 2))
    assert test.take(1.0 + 1e-11) is None


def test_the_moving_mean_is_that_of_the_first_values_and_then_exponential() -> None:
    first = noise(WARMUP)
    test = MovingMean()
    assert not any(taken(test, first))
    mean, variance = statistics.fmean(first), statistics.pvariance(first)
    assert test.take(mean + 1) is None
    after = mean + (1 - FACTOR)
    spread = math.sqrt(FACTOR * variance + (1 - FACTOR))
    found = test.take(after + 3 * spread)
    assert found is not None
    assert found.centre == pytest.approx(after)
    assert found.scale == pytest.approx(spread)
    assert found.z == pytest.approx(3)


def test_an_outlier_moves_the_mean_no_further_than_the_threshold() -> None:
    one, other = MovingMean(), MovingMean()
    first = noise(WARMUP)
    taken(one, first)
    taken(other, first)
    spread = math.sqrt(statistics.pvariance(first))
    assert one.take(1e9) is not None
    other.take(statistics.fmean(first) + MEAN_SIGMA * spread)
    left, right = one.take(1e6), other.take(1e6)
    assert left is not None
    assert right is not None
    assert left.centre == pytest.approx(right.centre)
