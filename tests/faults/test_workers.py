"""Workers, shims and whole sessions are killed."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(2), ids=name_of)
def test_killed_workers_are_run_again_and_leave_nobody(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), moments(2, slow=True), ids=name_of)
def test_killed_workers_are_run_again_and_leave_nobody_where_torch_runs(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
