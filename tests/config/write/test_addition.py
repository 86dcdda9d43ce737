"""`sweeper add`: one more configuration, from what stands on the command line."""

from __future__ import annotations

import json

import pytest

from sweeper.config import SweepSpec, added_configuration
from sweeper.config.write.addition import outside_of
from sweeper.errors import SpecError
from tests.config.conftest import sweep

SHAPES = SweepSpec.from_json(
    sweep(
        parameters={
            "shape": {"values": [[1, 2], {"a": 1}]},
            "layers": {"values": [[1.0], [2]]},
            "lr": {"min": 0.0, "max": 1.0},
            "fixed": {"value": {"b": [1]}},
        },
        method="tpe",
    )
)
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
        ("optimizer=sgd momentum=high", "momentum: expected a number, as the sweep has, got high"),
        ("optimizer=sgd momentum=true", "momentum: expected a number, as the sweep has, got true"),
    ],
)
def test_missing_and_inapplicable_parameters_are_named(given: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        added_configuration(SPEC, given.split())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["shape=[1, 2]", "layers=[1]", "lr=1"], {"shape": [1, 2], "layers": [1.0], "lr": 1.0}),
        (["shape={a: 1}", "layers=[3, 4]", "lr=2"], {"shape": {"a": 1}, "layers": [3, 4], "lr": 2}),
        (["shape={b: {c: [1]}}", "layers=[2]", "lr=0.5"], {"shape": {"b": {"c": [1]}}, "layers": [2], "lr": 0.5}),
        (
            ["shape=1", "layers=[2]", "lr=0.5", "fixed={b: 2}"],
            {"shape": 1, "layers": [2], "lr": 0.5, "fixed": {"b": 2}},
        ),
    ],
)
def test_a_list_or_a_mapping_is_a_value_of_a_parameter_with_such_values(
    given: list[str], expected: dict[str, object]
) -> None:
    """The numbers are those of the sweep, so that its search and its trials see the same value."""
    added = json.loads(json.dumps(added_configuration(SHAPES, given)))
    assert added == {"fixed": {"b": [1]}, **expected}
    assert type(added["lr"]) is type(expected["lr"])


@pytest.mark.parametrize(
    ("argument", "got"),
    [("lr=[0.1, 0.2]", "[0.1, 0.2]"), ("lr={a: 1}", "{a: 1}")],
)
def test_several_values_of_a_parameter_with_single_ones_are_refused(argument: str, got: str) -> None:
    given = ["shape=[1, 2]", "layers=[1]", "lr=0.1"]
    with pytest.raises(SpecError) as caught:
        added_configuration(SHAPES, [one for one in given if one[:2] != argument[:2]] + [argument])
    assert f"expected one value, got {got}" in str(caught.value)


def test_values_outside_of_the_space_are_named() -> None:
    params = {"shape": [2, 1], "layers": [2], "lr": 2, "fixed": {"b": [1]}}
    assert outside_of(SHAPES, params) == [
        "shape=[2, 1] is not [1, 2] or a mapping",
        "lr=2 is not a number from 0.0 to 1.0",
    ]
