"""A trainer that is a function, and the parameters that it is called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config import SweepSpec, load
from sweeper.errors import Mistake, SpecError
from tests.config.conftest import TRAINERS, sweep


def signature(name: str) -> inspect.Signature:
    """Of the functions that these tests know: what `name` says after its colon, as Python reads it."""
    if name == "job:missing":
        raise SpecError([Mistake(where="", key="trainer", expected="a function missing in job.py", got="none")])
    made: dict[str, Callable[..., object]] = {}
    exec(f"def f({name.partition(':')[2]}): ...", made)  # noqa: S102 - the test's own text
    return inspect.signature(made["f"])


def loaded(folder: Path, takes: str, **keys: Any) -> SweepSpec:
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep(trainer=f"job:{takes}", **keys), sort_keys=False))
    return load(file, has_cuda=False, trainers=TRAINERS, functions=signature)


@pytest.mark.parametrize(
    "takes",
    ["lr", "trial", "trial, seed", "lr=1", "trial, lr", "**params", "trial, **params", "*, lr", "*a, lr"],
)
def test_parameters_that_fit(tmp_path: Path, takes: str) -> None:
    assert loaded(tmp_path, takes).trainer == f"job:{takes}"


def test_a_function_decides_about_its_own_data(tmp_path: Path) -> None:
    assert "dataset" in loaded(tmp_path, "dataset", parameters={"dataset": {"value": "mine"}}).parameters


WHEN = {"opt": {"values": ["sgd", "adam"]}, "lr": {"values": [1, 2], "when": {"opt": "sgd"}}}


UNKNOWN = "parameters.lr: expected an argument of job:{0}, got the unknown name lr; "
MISSING = "trainer: expected a parameter for each argument of job:{0}, got none named width or depth; "


@pytest.mark.parametrize(
    ("takes", "keys", "line", "message"),
    [
        ("missing", {}, 2, "trainer: expected a function missing in job.py, got none"),
        ("", {}, 7, UNKNOWN + "it takes no arguments"),
        ("lrr=1", {}, 7, UNKNOWN + "did you mean lrr?"),
        ("trial, width=8", {}, 7, UNKNOWN + "it takes width"),
        ("lr, width, depth", {}, 2, MISSING + "add it under parameters, or give it a default"),
        (
            "opt, lr",
            {"parameters": WHEN},
            15,
            "parameters.lr.when: expected a default for lr in job:{0}, because not every trial has it, got none",
        ),
        ("lr, /", {}, 2, "trainer: expected arguments of job:{0} that can be passed by name, got lr before the /"),
        ("lr", {"dataset": ["a"]}, 11, "dataset: expected the key only with a built-in trainer, got a function"),
    ],
)
def test_a_mismatch_with_the_signature_is_reported_with_its_line(
    tmp_path: Path, takes: str, keys: dict[str, Any], line: int, message: str
) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, takes, **keys)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'}:{line}: {message.format(takes)}")
    assert len(error.value.mistakes) == 1
