"""A few moments of every row of the fault matrix; `make faults` tries a hundred."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import FAULTS, moments, name_of

ROWS = sorted({fault.row for fault in FAULTS})
QUICK = [moment for row in ROWS for moment in moments(row)]
SLOW = [moment for row in ROWS for moment in moments(row, slow=True)]
EVERYWHERE = [fault for fault in FAULTS if fault.exhaustive]


@pytest.mark.parametrize(("fault", "seed"), QUICK, ids=name_of)
def test_nothing_is_lost_and_no_process_left_behind(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), SLOW, ids=name_of)
def test_nothing_is_lost_and_no_process_left_behind_where_torch_runs(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment


@pytest.mark.slow
@pytest.mark.parametrize("fault", EVERYWHERE, ids=name_of)
def test_what_may_happen_anywhere_is_tried_everywhere(fault: Fault) -> None:
    outcome = trial_of(fault, 0)
    assert not outcome.problems


def test_every_row_has_its_faults() -> None:
    assert list(range(1, 20)) == ROWS
