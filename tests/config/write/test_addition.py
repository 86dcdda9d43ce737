"""`sweeper add`: one more configuration, from what stands on the command line."""

from __future__ import annotations

import pytest

from sweeper.config import SweepSpec, added_configuration
from sweeper.errors import SpecError
from tests.config.conftest import sweep

SPEC = SweepSpec.from_json(
    sweep(
        parameters={
            "momentum": {"values": [0.0, 0.9], "when": {"optimizer": "sgd"}},
            "optimizer": {"values": ["sgd", "adam"]},
            "beta": {"value": 0.95, "when": {"optimizer": "adam"}},
            "decay": {"value": 0.1},
        }
    )
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("optimizer=adam", {"optimizer": "adam", "beta": 0.95, "decay": 0.1}),
        ("optimizer=adam beta=0.9", {"optimizer": "adam", "beta": 0.9, "decay": 0.1}),
        ("optimizer=sgd momentum=0.5 decay=0", {"momentum": 0.5, "optimizer": "sgd", "decay": 0}),
    ],
)
def test_a_configuration_has_the_parameters_that_apply(given: str, expected: dict[str, object]) -> None:
    assert added_configuration(SPEC, given.split()) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("optimizer=sgd", "none for momentum"),
        ("optimizer=adam momentum=0.5", "no momentum, which needs optimizer='sgd', got momentum"),
        ("decay=1", "none for optimizer"),
    ],
)
def test_missing_and_inapplicable_parameters_are_named(given: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        added_configuration(SPEC, given.split())
