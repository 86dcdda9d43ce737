"""`trainer: module:function` in a whole sweep, with each launch mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FILES = {
    "job/__init__.py": "",
    "job/train.py": """
import sweeper
from job.loss import loss

def by_name(lr, seed, width=2):
    return loss(lr, width) + seed

def of_the_trial(trial):
    with sweeper.trial(defaults={"width": 2}) as same:
        assert same is trial
        trial.report({"loss": loss(trial.params["lr"], trial.params["width"])}, step=0)

def in_steps(trial, lr):
    for step in range(3):
        trial.report({"other": step}, step=step)
    return {"loss": loss(lr, 2), "name": "x"}

def both(lr):
    return loss(lr, 2), 10 - lr

def one_only(lr):
    return loss(lr, 2)

def failing(lr):
    raise ValueError(f"no {lr}")
""",
    "job/loss.py": "def loss(lr, width):\n    return lr * width\n",
}


def run(folder: Path, function: str, launch: str, **keys: Any) -> tuple[int, str, list[dict[str, Any]]]:
    """Run a sweep; return its exit code, its output, and its trials by `status`."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    spec = {
        "name": "calls",
        "trainer": function,
        "method": "grid",
        "metric": {"name": "loss"},
        "parameters": {"lr": {"values": [1, 2, 3, 4]}},
        "launch": launch,
    }
    given = {key: value for key, value in (spec | keys).items() if value is not None}
    (folder / "sweep.yaml").write_text(json.dumps(given))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "sweeper.cli"]
    call: dict[str, Any] = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 100}
    done = subprocess.run([*command, "run", "sweep.yaml", "--workers", "1"], **call)
    status = subprocess.run([*command, "status", "runs/calls", "--json"], **call)
    trials = json.loads(status.stdout)["trials"] if status.returncode == 0 else []
    return done.returncode, done.stdout + done.stderr, trials


@pytest.mark.parametrize("launch", ["spawn", "preload"])
@pytest.mark.parametrize(
    ("function", "values"), [("by_name", [2, 4, 6, 8]), ("of_the_trial", [2, 4, 6, 8]), ("in_steps", [2, 4, 6, 8])]
)
def test_a_function_is_a_trainer(tmp_path: Path, function: str, values: list[int], launch: str) -> None:
    code, said, trials = run(tmp_path, f"job.train:{function}", launch)
    assert (code, [trial["value"] for trial in trials]) == (0, values), said
    assert "plainly" not in said


def test_an_error_in_a_function_fails_its_trial(tmp_path: Path) -> None:
    _, _, trials = run(tmp_path, "job.train:failing", "spawn", parameters={"lr": {"value": 1}})
    assert trials[0]["state"] == "FAIL"
    output = (tmp_path / "runs/calls/trials/0000/attempts/1/output.log").read_text()
    assert output.endswith("ValueError: no 1\n")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "job.train:trian",
            "sweep.yaml:1: trainer: expected a function trian in {0}/job/train.py, got nothing of that name; it has",
        ),
        ("job.tain:by_name", "sweep.yaml:1: trainer: expected a module job.tain, in {0} or installed, got none"),
        ("job.loss:loss", "sweep.yaml:1: trainer: expected a parameter for each argument of job.loss:loss, got none n"),
    ],
)
def test_an_unsuitable_function_is_reported_before_anything_starts(tmp_path: Path, function: str, message: str) -> None:
    code, said, trials = run(tmp_path, function, "spawn")
    assert message.format(tmp_path) in said
    assert (code, trials, "Traceback" in said) == (2, [], False)


def test_without_a_sweep_a_function_runs_with_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("def train(trial, lr=0.5):\n    print(trial.params, lr)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.worker.function", "job:train"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("{'lr': 0.5} 0.5\n", "")
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_an_error_that_only_a_call_shows_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import functools\nf = functools.partial(lambda lr: None)\n")
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.worker.function", "job:f"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    expected = "trainer job:f: its arguments do not match the sweep's parameters: missing a required argument: 'lr'\n"
    assert (done.returncode, done.stderr) == (2, expected)


OBJECTIVES = [{"name": "loss"}, {"name": "latency_ms"}]


def test_a_function_returns_a_number_for_each_objective(tmp_path: Path) -> None:
    code, out, trials = run(tmp_path, "job.train:both", "spawn", metric=None, objectives=OBJECTIVES)
    assert code == 0, out
    assert [trial["values"] for trial in trials] == [{"loss": 2.0 * lr, "latency_ms": 10.0 - lr} for lr in (1, 2, 3, 4)]


def test_a_single_number_for_several_objectives_is_refused(tmp_path: Path) -> None:
    keys = {"objectives": OBJECTIVES, "parameters": {"lr": {"values": [1]}}}
    code, out, [trial] = run(tmp_path, "job.train:one_only", "spawn", metric=None, **keys)
    assert code == 1
    assert trial["state"] == "FAIL"
    assert (
        "the trainer returned no latency_ms: expected a tuple or a mapping with a number for each of loss, latency_ms"
    ) in out
