"""SIGINT and SIGTERM to the orchestrator."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(3), ids=name_of)
def test_an_interrupted_sweep_ends_and_goes_on(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
