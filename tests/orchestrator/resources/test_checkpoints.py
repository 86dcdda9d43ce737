"""Which trials lose their checkpoints, and in which order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.orchestrator.resources.checkpoints import over_limit


@pytest.mark.parametrize(
    ("kept", "limit", "discarded"),
    [
        ([], 0, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0)], 20, []),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 20, [1]),
        ([(0, 0.5, 10.0), (1, 0.3, 10.0), (2, 0.4, 10.0)], 0, [1, 2, 0]),
        ([(0, -math.inf, 10.0), (1, -5.0, 10.0)], 10, [0]),
        ([(0, 0.1, 0.0), (1, 0.3, 10.0)], 5, [1]),  # a trial without checkpoints frees no space
    ],
)
def test_the_checkpoints_of_the_worst_trials_are_discarded_first(
    kept: list[tuple[int, float, float]], limit: float, discarded: list[int]
) -> None:
    assert over_limit(kept, limit) == discarded


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 100)), max_size=12), st.floats(0, 500))
def test_the_kept_checkpoints_fit_the_limit(trials: list[tuple[float, float]], limit: float) -> None:
    kept = [(number, quality, size) for number, (quality, size) in enumerate(trials)]
    discarded = over_limit(kept, limit)
    assert sum(size for number, _, size in kept if number not in discarded) <= limit + 1e-6
