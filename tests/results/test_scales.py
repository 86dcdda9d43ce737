"""The scale of an axis."""

from __future__ import annotations

import pytest

from sweeper.results.scales import is_logarithmic, normalized


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1e-5, 3e-5, 1e-4, 1e-3], True),
        ([0.002, 0.2, 0.4, 0.6, 0.8, 1.0], False),  # evenly distributed, with one value near 0
        ([0.1, 0.7], False),
        ([1, 2, 4], False),
        ([0.0, 1e-5, 1.0], False),
    ],
)
def test_an_axis_is_logarithmic_if_the_values_are_spread_so(values: list[float], log: bool) -> None:
    assert is_logarithmic(values) is log


def test_positions_go_from_0_to_1() -> None:
    assert normalized([1, 10, 100], log=True) == pytest.approx([0, 0.5, 1])
    assert normalized([1, 2, 3], log=False) == [0, 0.5, 1]
    assert normalized([2, 2], log=True) == [0.5, 0.5]
