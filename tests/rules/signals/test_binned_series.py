"""A binned series keeps few bins of reports, and still has the start, the level and the trend of a value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.rules.signals.binned_series import MOST, WINDOW, BinnedSeries


def series_of(values: list[float]) -> BinnedSeries:
    made = BinnedSeries()
    for step, value in enumerate(values):
        made.add(step, value)
    return made


@given(st.lists(st.floats(-1e6, 1e6), min_size=WINDOW, max_size=2000))
def test_the_level_is_the_mean_of_the_newest_reports(values: list[float]) -> None:
    made = series_of(values)
    bins = made._bins
    assert len(bins) <= MOST
    # Bins are whole, so the window may be longer by less than one of them.
    lengths = range(made.window, made.window + int(max(group[1] for group in bins)) + 1)
    means = [float(np.mean(values[-n:])) for n in lengths if n <= len(values)] or [float(np.mean(values))]
    assert any(made.level() == pytest.approx(mean, rel=1e-6, abs=1e-3) for mean in means)


@given(st.integers(1, 5000))
def test_the_number_of_bins_is_limited_and_no_report_is_lost(count: int) -> None:
    made = series_of([1.0] * count)
    assert len(made._bins) <= MOST
    assert sum(group[1] for group in made._bins) == made.count == count


def test_reports_that_are_not_finite_are_counted_and_left_out_of_levels() -> None:
    made = series_of([2.0] * 20 + [math.nan, math.inf])
    assert made.not_finite == 2
    assert made.level() == 2.0
    made.add(22, 2.0)
    assert made.not_finite == 0


def test_the_start_follows_from_the_first_reports_without_an_explosion() -> None:
    assert series_of([2.4, 2.3, 2.2, 1.0, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]).start == 2.3
    assert series_of([0.5, 4.0, 0.4, 5.0, 6.0, 5.0, 4.0, 6.0, 5.0, 5.0]).start == pytest.approx(4.09)
    assert series_of([2.0] * 9 + [1e12]).start == pytest.approx(3.8)


def test_a_fall_is_measured_in_units_of_noise() -> None:
    chance = np.random.default_rng(0)
    noise = chance.normal(0, 0.1, 400)
    assert series_of(list(2 - np.arange(400) / 200 + noise)).fell_by(0.25) > 10
    assert abs(series_of(list(2 + noise)).fell_by(0.25)) < 4


def test_the_best_level_and_its_step_are_kept() -> None:
    made = series_of([2.0] * 50 + [0.5] * 20 + [3.0] * 200)
    assert made.best == pytest.approx(0.5)
    assert 50 < made.best_step < 75
    assert made.level() == pytest.approx(3.0)
