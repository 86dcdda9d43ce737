from __future__ import annotations

import math
from collections import UserDict
from fractions import Fraction

import numpy as np
import pytest
import torch

from sweeper.auto.loggers.values import numbers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(
            (1, 1.0),
            (0.5, 0.5),
            (Fraction(1, 2), 0.5),
            (math.inf, math.inf),
            (np.array(3.0), 3.0),
            (np.array([4]), 4.0),
        ),
        *((np.float64(0.25), 0.25), (np.float32(0.5), 0.5), (np.int64(2), 2.0)),
    ],
)
def test_numbers_become_floats(value: object, expected: float) -> None:
    found = numbers({"a": value})
    assert found == {"a": expected}
    assert type(found["a"]) is float  # a number of NumPy has a device that is a string


@pytest.mark.parametrize("value", [torch.tensor(1.5, requires_grad=True), torch.tensor([2]), torch.ones(1, 1)])
def test_tensors_with_one_element_stay_as_they_are(value: torch.Tensor) -> None:
    assert numbers({"a": value})["a"] is value


@pytest.mark.parametrize(
    "value",
    [
        *(None, "1.5", True, np.bool_(1), [1.0], (1,), object(), 1j, np.array(1j), np.ones(2), np.array("x")),
        *(torch.ones(2), torch.ones((), dtype=torch.bool), torch.tensor(1j), torch.empty(0), torch.tensor),
    ],
)
def test_everything_else_is_left_out(value: object) -> None:
    assert numbers({"a": value, "b": 1}) == {"b": 1.0}


def test_nan_stays() -> None:
    value = numbers({"a": float("nan")})["a"]
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("separator", [".", "/"])
def test_names_of_nested_mappings_are_joined(separator: str) -> None:
    values = {"a": UserDict({"b": 1, "c": {"d": 2, "e": "x"}}), 3: 4, "f": {}}
    assert numbers(values, separator) == {f"a{separator}b": 1.0, f"a{separator}c{separator}d": 2.0, "3": 4.0}
