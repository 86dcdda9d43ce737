"""What `plan` and `check` say about known settings and about other runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.preflight.known import known_lines
from sweeper.preflight.summary import arms_of
from tests.config.conftest import sweep
from tests.orchestrator.search.test_learning import recorded
from tests.orchestrator.search.test_proposals import LR

TWO: dict[str, Any] = {"lr": LR, "warmup": {"min": 0.0, "max": 1.0}}


def spec(**keys: Any) -> SweepSpec:
    return SweepSpec.from_json(sweep(**keys))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"method": "tpe", "parameters": TWO, "start_with": [{"lr": 1e-4, "warmup": 0.7}, {"lr": 3e-4}]},
            "start_with: lr=1e-4, warmup=0.7; lr=3e-4 (the search draws warmup)",
        ),
        (
            {"method": "random", "parameters": {"lr": LR}, "start_with": [{"lr": n / 100} for n in range(11, 23)]},
            "start_with: " + "; ".join([f"lr=0.{n}" for n in range(11, 21)]).replace("0.20", "0.2") + "; and 2 more",
        ),
        (
            {"method": "random", "parameters": {"lr": LR}, "start_with": [{"lr": 1}, {"lr": 2}], "run_cap": 1},
            "start_with: lr=1; lr=2; run_cap allows the first 1 configuration of them",
        ),
        (
            {"parameters": {"lr": {"values": [1, 2]}, "n": {"values": [3, 4]}}, "start_with": [{"n": 4}]},
            "start_with: n=4: 2 arms of the grid, which come first",
        ),
    ],
)
def test_known_settings_are_listed(tmp_path: Path, keys: dict[str, Any], line: str) -> None:
    assert known_lines(spec(**keys), tmp_path) == [line]


def test_the_arms_of_a_grid_begin_with_the_known_ones() -> None:
    parameters = {"lr": {"values": [1, 2]}, "n": {"values": [3, 4]}}
    arms = arms_of(spec(parameters=parameters, start_with=[{"lr": 2, "n": 4}]))
    assert [(arm["lr"], arm["n"]) for arm in arms] == [(2, 4), (1, 3), (1, 4), (2, 3)]


def test_it_is_said_how_much_of_another_run_is_taken(tmp_path: Path) -> None:
    recorded(tmp_path)
    known = spec(trainer=None, command=["a"], method="tpe", parameters={"lr": LR}, learn_from=["other"])
    taken = "learn_from: other: 6 configurations taken (2 failed because of their parameters)"
    assert known_lines(known, tmp_path) == [taken]
    assert not (tmp_path / "small").exists(), "nothing is written"
    with pytest.raises(UsageError, match="expected the directory of a run"):
        known_lines(known, tmp_path / "elsewhere")
