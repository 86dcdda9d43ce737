"""The orchestrator is killed."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(1), ids=name_of)
def test_a_killed_orchestrator_loses_nothing(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), moments(1, slow=True), ids=name_of)
def test_a_killed_orchestrator_loses_nothing_where_torch_runs(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
