"""The terminal, or the reader of the output, goes."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(16), ids=name_of)
def test_a_sweep_outlives_its_terminal(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
