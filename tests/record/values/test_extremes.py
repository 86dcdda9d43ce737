"""Values near the largest numbers: means and deviations of them are right, infinite or NaN, and never an error."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.values.extremes import LARGEST, as_float, deviation, mean, tamed
from sweeper.rules.signals.binned_series import BinnedSeries

VALUES = st.lists(st.floats(), min_size=1, max_size=40)


@given(VALUES)
def test_any_values_have_a_mean_and_a_deviation(values: list[float]) -> None:
    assert isinstance(mean(values), float)
    if len(values) > 1:
        assert isinstance(deviation(values), float)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40))
def test_usual_values_have_the_usual_ones(values: list[float]) -> None:
    assert mean(values) == statistics.fmean(values)
    assert deviation(values) == statistics.stdev(values)


def test_a_mean_of_very_large_values_is_right() -> None:
    assert mean([1.7e308, 1.7e308]) == pytest.approx(1.7e308)
    assert math.isnan(mean([math.inf, -math.inf]))


def test_only_what_cannot_be_calculated_with_is_tamed() -> None:
    assert [tamed(value) for value in (1e300, -1e300, math.inf, 3.5)] == [LARGEST, -LARGEST, math.inf, 3.5]
    assert math.isnan(tamed(math.nan))
    assert as_float(10**400) == math.inf


@given(VALUES)
def test_a_series_takes_any_values(values: list[float]) -> None:
    series = BinnedSeries()
    for step, value in enumerate(values * 5):
        series.add(step, value)
    for result in (series.level(), series.noise, series.error, series.start_error, series.fell_by(0.2), series.start):
        assert isinstance(result, float)
