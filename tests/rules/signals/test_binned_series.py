"""A course keeps few groups of reports and still knows where a value began, where it is, and how it falls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.rules.signals.binned_series import MOST, WINDOW, Course


def course(values: list[float]) -> Course:
    made = Course()
    for step, value in enumerate(values):
        made.add(step, value)
    return made


@given(st.lists(st.floats(-1e6, 1e6), min_size=WINDOW, max_size=2000))
def test_the_level_is_the_mean_of_the_newest_reports(values: list[float]) -> None:
    made = course(values)
    groups = made._groups
    assert len(groups) <= MOST
    # Groups are whole, so the window may be longer by less than one of them.
    lengths = range(made.window, made.window + int(max(group[1] for group in groups)) + 1)
    means = [float(np.mean(values[-n:])) for n in lengths if n <= len(values)] or [float(np.mean(values))]
    assert any(made.level() == pytest.approx(mean, rel=1e-6, abs=1e-3) for mean in means)


@given(st.integers(1, 5000))
def test_however_many_reports_there_are_few_groups_are_kept_and_none_is_lost(count: int) -> None:
    made = course([1.0] * count)
    assert len(made._groups) <= MOST
    assert sum(group[1] for group in made._groups) == made.count == count


def test_what_is_not_finite_is_counted_and_is_no_part_of_a_level() -> None:
    made = course([2.0] * 20 + [math.nan, math.inf])
    assert made.not_finite == 2
    assert made.level() == 2.0
    made.add(22, 2.0)
    assert made.not_finite == 0


def test_the_start_is_that_of_the_first_reports_and_no_explosion() -> None:
    assert course([2.4, 2.3, 2.2, 1.0, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]).start == 2.3
    assert course([0.5, 4.0, 0.4, 5.0, 6.0, 5.0, 4.0, 6.0, 5.0, 5.0]).start == pytest.approx(4.09)
    assert course([2.0] * 9 + [1e12]).start == pytest.approx(3.8)


def test_a_fall_beyond_its_noise_is_told_from_noise() -> None:
    chance = np.random.default_rng(0)
    noise = chance.normal(0, 0.1, 400)
    assert course(list(2 - np.arange(400) / 200 + noise)).fell_by(0.25) > 10
    assert abs(course(list(2 + noise)).fell_by(0.25)) < 4


def test_the_best_level_and_its_step_stay_known() -> None:
    made = course([2.0] * 50 + [0.5] * 20 + [3.0] * 200)
    assert made.best == pytest.approx(0.5)
    assert 50 < made.best_step < 75
    assert made.level() == pytest.approx(3.0)
