"""Whose checkpoints are given up, and in which order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.orchestrator.resources.checkpoints import to_give_up


@pytest.mark.parametrize(
    ("parked", "budget", "given_up"),
    [
        ([], 0, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0)], 20, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 20, [1]),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 0, [1, 2, 0]),
        ([(0, -math.inf, 10.0), (1, -5.0, 10.0)], 10, [0]),
        ([(0, 0.1, 0.0), (1, 0.3, 10.0)], 5, [1]),  # who has none has none to give up
    ],
)
def test_the_worst_give_theirs_up_first(
    parked: list[tuple[int, float, float]], budget: float, given_up: list[int]
) -> None:
    assert to_give_up(parked, budget) == given_up


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), max_size=12), st.floats(0, 500))
def test_what_is_left_fits(worths: list[tuple[float, float]], budget: float) -> None:
    parked = [(number, worth, size) for number, (worth, size) in enumerate(worths)]
    given_up = to_give_up(parked, budget)
    assert sum(size for number, _, size in parked if number not in given_up) <= budget + 1e-6
