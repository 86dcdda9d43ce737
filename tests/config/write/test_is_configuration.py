"""Parameters from outside are those of one configuration of the sweep, or they are not."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.config import SweepSpec, is_configuration

SPEC = SweepSpec.from_json(
    {
        "name": "s",
        "method": "random",
        "metric": {"name": "loss"},
        "command": ["train", "${args}"],
        "run_cap": 1,
        "parameters": {
            "lr": {"min": 0.1, "max": 1.0},
            "optimizer": {"values": ["sgd", "adam"]},
            "momentum": {"values": [0.0, 0.9], "when": {"optimizer": ["sgd"]}},
            "layers": {"value": [1, 2]},
        },
    }
)
SGD: dict[str, Any] = {"lr": 0.5, "optimizer": "sgd", "momentum": 0.9, "layers": [1, 2]}
ADAM: dict[str, Any] = {"lr": 7, "optimizer": "adam", "layers": [1, 2]}


@pytest.mark.parametrize("params", [SGD, ADAM, {**SGD, "momentum": 0.5}, {**ADAM, "optimizer": "lion"}])
def test_a_configuration_may_have_values_outside_of_the_search_space(params: dict[str, Any]) -> None:
    assert is_configuration(SPEC, params)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {**SGD, "more": 1},
        {**ADAM, "momentum": 0.9},
        {name: value for name, value in SGD.items() if name != "momentum"},
        {**SGD, "layers": [1, 3]},
        {**SGD, "lr": "0.5"},
        {**SGD, "lr": True},
        {**SGD, "lr": None},
        {**SGD, "optimizer": ["sgd"]},
        {**SGD, "optimizer": {"sgd": 1}},
    ],
)
def test_other_parameters_are_refused(params: dict[str, Any]) -> None:
    assert not is_configuration(SPEC, params)
