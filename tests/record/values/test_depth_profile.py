"""The depth profile and its reach, by their definitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.values.depth_profile import FADED, depth_profile, median, reach, reaches

gradients = st.floats(min_value=1e-20, max_value=1e10)


def test_a_layer_pools_its_tensors_by_entries() -> None:
    profile = depth_profile([3.0, 4.0, 100.0], [4, 12, 5], [0, 0, -1], 1)
    assert profile == pytest.approx([math.sqrt((9 + 16) / 16)])


def test_a_layer_without_tensors_is_undefined() -> None:
    assert math.isnan(depth_profile([], [], [], 1)[0])


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ([1.0, 1.0, 1.0], math.nan),
        ([1.0, 1.0, 1.0, 1.0], 1.0),
        ([1e-3, 5.0, 5.0, 1.0], 1e-3),
        ([0.0, 5.0, 5.0, 1.0], 0.0),
        ([1.0, 5.0, 5.0, 0.0], math.inf),
        ([0.0, 5.0, 5.0, 0.0], math.nan),
        ([math.nan, 5.0, 5.0, 1.0], math.nan),
        ([1.0, math.nan, 5.0, 1.0], 1.0),
        ([math.inf, 5.0, 5.0, 1.0], math.inf),
        ([1.0, 5.0, 5.0, math.inf], 0.0),
        ([1e-4, 1e-2, 1, 1, 1, 1, 1.0, 1.0], 1e-3),
        ([1e-2] * 8 + [7.0] * 58 + [1.0] * 8, 1e-2),
    ],
)
def test_reach_by_its_definition(profile: list[float], expected: float) -> None:
    assert reach(profile) == pytest.approx(expected, nan_ok=True)


@given(st.lists(gradients, min_size=4, max_size=80), st.floats(min_value=1e-6, max_value=1e6))
def test_reach_is_untouched_by_scale(profile: list[float], scale: float) -> None:
    assert reach([value * scale for value in profile]) == pytest.approx(reach(profile), rel=1e-6)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ([1.0, 1.0, 1.0], -1),
        ([1.0, 1.0, 1.0, 1.0], 0),
        ([1e-3, 5.0, 5.0, 1.0], 1),
        ([1e-3, 1e-3, 1e-3, 1.0], 3),
        ([1.0, 1e-3, 5.0, 1.0], 2),
        ([0.0, 5.0, 5.0, 1.0], 1),
        ([math.nan, 5.0, 5.0, 1.0], -1),
        ([1.0, math.nan, 5.0, 1.0], 2),
        ([1e-9] * 24 + [1.0] * 50, 23),
    ],
)
def test_reaches_is_the_first_layer_with_a_gradient(profile: list[float], expected: int) -> None:
    assert reaches(profile) == pytest.approx(expected)


@given(st.lists(gradients, min_size=4, max_size=80))
def test_where_reach_is_gone_the_gradient_does_not_reach_the_first_layer(profile: list[float]) -> None:
    first = reaches(profile)
    assert 0 <= first < len(profile)
    if reach(profile) < FADED:
        assert first > 0


def test_median_passes_over_what_is_undefined() -> None:
    assert median([math.nan, 3.0, 1.0, math.inf]) == 2.0
    assert math.isnan(median([math.nan]))
