"""What workers start, in whatever session, ends with them."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(6), ids=name_of)
def test_what_workers_start_ends_with_them(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), moments(6, slow=True), ids=name_of)
def test_what_workers_start_ends_with_them_where_torch_runs(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
