"""The views process dies, or TensorBoard has no port; training does not notice."""

from __future__ import annotations

import pytest

from tests.faults.harness import Fault, trial_of
from tests.faults.matrix import moments, name_of


@pytest.mark.parametrize(("fault", "seed"), moments(15), ids=name_of)
def test_the_pictures_are_drawn_whoever_dies(fault: Fault, seed: int) -> None:
    outcome = trial_of(fault, seed)
    assert not outcome.problems, outcome.moment
