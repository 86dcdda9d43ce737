"""The executor of a sweep, and the message if it is not available."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.errors import UsageError
from sweeper.executors.choice import executor_of, require_library, require_variables
from sweeper.executors.local import LocalExecutor
from sweeper.executors.machine import Machine
from sweeper.record.storage.layout import SweepDir

MACHINE = Machine(devices=[], cores=4, workers=2)


def spec(**keys: Any) -> SweepSpec:
    metric = {"name": "loss", "goal": "minimize"}
    return SweepSpec.from_json({"name": "a", "command": ["true"], "method": "grid", "metric": metric, **keys})


def test_a_sweep_runs_on_this_machine_by_default(tmp_path: Path) -> None:
    executor = executor_of(spec(), SweepDir(tmp_path), MACHINE)
    assert isinstance(executor, LocalExecutor)
    assert [slot.name for slot in executor.slots()] == ["cpu 0", "cpu 1"]


@pytest.mark.parametrize(("name", "library"), [("ray", "ray")])
def test_a_missing_library_is_reported_with_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == library else object())
    with pytest.raises(UsageError, match=rf'expected {library} to be installed, .* "sweeper\[{name}\]"'):
        require_library(spec(executor=name))
    require_library(spec())


def test_a_variable_that_sweeper_sets_for_trials_need_not_be_set_here() -> None:
    own = ["SWEEPER_TRIAL_DIR", "SWEEPER_ATTEMPT", "WANDB_RUN_ID", "OMP_NUM_THREADS"]
    require_variables(spec(command=[f"${{envvar:{name}}}" for name in own]), {})


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"command": ["x", "${envvar:MINE}"]}, "command"),
        ({"resume_args": ["${trial:dir}/${envvar:MINE}"]}, "resume_args"),
        ({"parameters": {"data": {"value": "${envvar:MINE}/a"}}}, "parameters.data"),
        ({"parameters": {"data": {"values": [1, "${envvar:MINE}"]}}}, "parameters.data"),
    ],
)
def test_any_other_variable_is_refused_where_it_is_used(keys: dict[str, Any], where: str) -> None:
    with pytest.raises(UsageError, match=rf"^{where}: \$\{{envvar:MINE\}}: expected the variable MINE to be set"):
        require_variables(spec(**keys), {})
    require_variables(spec(**keys), {"MINE": "x"})
    require_variables(spec(**keys, executor="slurm"), {})
