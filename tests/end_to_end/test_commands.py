"""Commands to a run from another terminal: `revive` and `add`, in real processes, during a sweep and after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time, torch, sweeper
from torch import nn

with sweeper.trial(defaults={"depth": 6, "pause": 0.0}) as trial:
    torch.manual_seed(0)
    unit = nn.Tanh if trial.params["alive"] else nn.Sigmoid
    model = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), unit()) for _ in range(12)))
    for layer in model:
        nn.init.orthogonal_(layer[0].weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trial.plan(total_steps=120)
    trial.watch(model, optimizer, every=5)
    state = trial.restore()
    start = 0 if state is None else state["step"] + 1
    for step in range(start, 120):
        model(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"score": float(step)}, step=step)
        time.sleep(trial.params["pause"])
        if trial.should_save:
            trial.save({"step": step}, step=step)
        if trial.should_stop:
            break
"""
SWEEP = """
name: s
method: grid
metric: {name: score, goal: maximize}
program: train.py
command: ["${interpreter}", "${program}"]
parameters:
  alive: {values: [true, false]}
  pause: {value: PAUSE}
early_stop: {rules: [{stalled: {}}]}
resources: {cpus: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err
    return process.returncode, out, err


def trials(folder: Path) -> list[dict[str, Any]]:
    code, out, err = call(folder, "status", "runs/s", "--json")
    assert code == 0, err
    listed: list[dict[str, Any]] = json.loads(out)["trials"]
    return listed


@pytest.mark.slow
def test_a_revived_trial_resumes_from_its_checkpoint(folder: Path) -> None:
    (folder / "s.yaml").write_text(SWEEP.replace("PAUSE", "0.04"))
    assert call(folder, "run", "s.yaml")[0] == 0
    alive, dead = trials(folder)
    assert (alive["state"], dead["state"]) == ("COMPLETE", "PRUNED")
    assert call(folder, "revive", "runs/s", "0")[::2] == (
        2,
        "runs/s: expected the number of a trial that was stopped early or has not ended, got 0, which is COMPLETE\n",
    )
    code, out, err = call(folder, "revive", "runs/s", "1")
    assert code == 0, err
    assert "Trial 0001 is revived" in out
    _, revived = trials(folder)
    assert (revived["state"], revived["step"], revived["attempts"]) == ("COMPLETE", 119, 2)
    assert revived["spared"]["as"] == "revived"
    assert not list((folder / "runs/s/inbox").iterdir())


@pytest.mark.slow
def test_a_configuration_is_added_to_a_sweep_that_has_ended(folder: Path) -> None:
    (folder / "s.yaml").write_text(SWEEP.replace("PAUSE", "0.04").replace("[true, false]", "[true]"))
    assert call(folder, "run", "s.yaml")[0] == 0
    code, out, err = call(folder, "add", "runs/s", "alive=false")
    assert code == 0, out + err
    assert [(t["params"]["alive"], t["state"]) for t in trials(folder)] == [(True, "COMPLETE"), (False, "PRUNED")]
    assert call(folder, "add", "runs/s", "alive=false")[0] == 0  # it is there already
    assert len(trials(folder)) == 2
    code, _, err = call(folder, "run", "s.yaml")
    assert code == 0, err
    assert len(trials(folder)) == 2


@pytest.mark.slow
def test_a_configuration_is_added_while_the_sweep_runs(folder: Path) -> None:
    (folder / "s.yaml").write_text(SWEEP.replace("PAUSE", "0.05").replace("[true, false]", "[true]"))
    sweep = start(folder, "run", "s.yaml", "--workers", "1")
    until = time.monotonic() + 60
    while not (folder / "runs/s/trials/0000/control.jsonl").exists() and time.monotonic() < until:
        time.sleep(0.1)
    code, out, err = call(folder, "add", "runs/s", "alive=false")
    assert code == 0, err
    assert "sent to the process that runs it" in out
    out, err = sweep.communicate(timeout=100)
    assert sweep.returncode == 0, out + err
    assert [trial["state"] for trial in trials(folder)] == ["COMPLETE", "PRUNED"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "runs/s", "lr=1"], "expected a parameter of the sweep: alive or pause, got lr"),
        (
            ["add", "runs/s", "pause=0.1"],
            "expected a value for each parameter that the sweep varies, got none for alive",
        ),
        (["add", "runs/s", "alive=[true]"], "alive: expected one value, got [true]"),
        (["add", "runs/none", "alive=true"], "expected the directory of a run"),
        (["revive", "runs/s", "7"], "expected the number of a trial (0 to 1), got 7"),
    ],
)
def test_wrong_commands_are_explained(folder: Path, arguments: list[str], said: str) -> None:
    (folder / "s.yaml").write_text(SWEEP.replace("PAUSE", "0.04"))
    (folder / "train.py").write_text(
        "import sweeper\nwith sweeper.trial() as trial:\n    trial.report({'score': 1.0}, step=0)\n"
    )
    assert call(folder, "run", "s.yaml")[0] == 0
    code, _, err = call(folder, *arguments)
    assert code == 2
    assert said in err


BUDGETED = """
name: s
method: grid
metric: {name: score, goal: maximize}
command: ["${interpreter}", -c, "import sweeper; t = sweeper.trial(); e = t.__enter__(); e.report({'score': 1.0}, step=0); t.__exit__(None, None, None)", "${args}"]
parameters:
  x: {values: [1, 2, 3]}
resources: {cpus: 1}
"""  # noqa: E501 - a command


@pytest.mark.slow
def test_a_spent_budget_ends_the_launches_and_a_larger_one_resumes_the_sweep(folder: Path) -> None:
    (folder / "s.yaml").write_text(BUDGETED)
    code, out, err = call(folder, "run", "s.yaml", "budget.trials=1", "--workers", "2")
    assert (code, err) == (0, "")
    assert "The budget of 1 trial is spent: 2 trials were not started or not finished." in out
    assert [one["state"] for one in trials(folder)] == ["COMPLETE", "WAITING", "WAITING"]
    code, out, _ = call(folder, "run", "s.yaml", "budget.trials=1", "--workers", "2")
    assert code == 0
    assert [one["attempts"] for one in trials(folder)] == [1, 0, 0]
    code, out, _ = call(folder, "run", "s.yaml", "budget.trials=3", "budget.hours=1e-9", "--workers", "2")
    assert code == 0
    assert "The budget of 1e-09 hours is spent: 2 trials were not started" in out
    code, out, _ = call(folder, "run", "s.yaml", "budget.trials=3", "--workers", "2")
    assert code == 0
    assert "spent" not in out
    assert [one["state"] for one in trials(folder)] == ["COMPLETE"] * 3


TARGET = """
import sweeper
with sweeper.trial() as trial:
    for step in range(3):
        trial.report({"score": trial.params["x"] * (1 if step == 1 else 0.5)}, step=step)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grid", "random"])
def test_a_target_that_is_reached_ends_the_launches_as_with_wandb(folder: Path, method: str) -> None:
    """The value of any step counts; without a cap a search would go on for ever."""
    (folder / "train.py").write_text(TARGET)
    head = f"name: s\nmethod: {method}\nprogram: train.py\nmetric: {{name: score, goal: maximize, target: 1.5}}\n"
    values = "[1, 2, 3]" if method == "grid" else "[2, 3]"
    (folder / "s.yaml").write_text(f"{head}resources: {{cpus: 1}}\nparameters: {{x: {{values: {values}}}}}\n")
    code, out, _ = call(folder, "run", "s.yaml", "--workers", "1")
    assert code == 0
    assert "The target of 1.5 is reached, so no more trials are started" in out
    states = [one["state"] for one in trials(folder)]
    if method == "grid":
        assert states == ["COMPLETE", "COMPLETE", "WAITING"]
        assert "are started: 1 trial was not started or not finished." in out
        code, out, _ = call(folder, "run", "s.yaml", "metric.target=5", "--workers", "1")
        assert code == 0
        assert [one["state"] for one in trials(folder)] == ["COMPLETE"] * 3
        assert "is reached" not in out
    else:
        assert states == ["COMPLETE"]


PICKY = """
import argparse, sweeper
parser = argparse.ArgumentParser()
parser.add_argument("--optimizer")
parser.add_argument("--x")
args = parser.parse_args()
if args.optimizer == "lion":
    import a_package_that_is_not_there
with sweeper.trial() as trial:
    trial.report({"score": 1.0}, step=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grid", "random"])
def test_a_wrong_start_holds_the_rest_of_the_sweep(folder: Path, method: str) -> None:
    """An option that the script does not have; with one worker, of nine trials two are started."""
    (folder / "train.py").write_text(PICKY)
    head = (
        f"name: s\nmethod: {method}\nrun_cap: 9\nprogram: train.py\nmetric: {{name: score}}\nresources: {{cpus: 1}}\n"
    )
    values = "{values: [1, 2, 3, 4, 5, 6, 7, 8, 9]}"
    (folder / "s.yaml").write_text(f"{head}parameters: {{wrong: {values}}}\n")
    code, out, _ = call(folder, "run", "s.yaml", "--workers", "1")
    assert code == 1
    assert "Held: 0000, 0001 failed at the start, and no trial has run: " in out
    assert "unrecognized arguments: --wrong=" in out
    assert ("So 7 waiting trials are not started" if method == "grid" else "So no more trials are started") in out
    assert sum(one["attempts"] for one in trials(folder)) == 2


@pytest.mark.slow
def test_a_package_that_one_value_needs_holds_nothing_else(folder: Path) -> None:
    (folder / "train.py").write_text(PICKY)
    head = "name: s\nmethod: grid\nprogram: train.py\nmetric: {name: score}\nresources: {cpus: 1}\n"
    parameters = "{optimizer: {values: [lion, adam]}, x: {values: [1, 2, 3]}}"
    (folder / "s.yaml").write_text(f"{head}parameters: {parameters}\n")
    code, out, _ = call(folder, "run", "s.yaml", "--workers", "1")
    assert code == 1
    assert [one["state"] for one in trials(folder)] == ["FAIL"] * 3 + ["COMPLETE"] * 3
    assert "Held" not in out
