"""What users import and call, used as they use it. `.ci/package` runs this folder against the installed wheel too.

Only public names are used: `sweeper.trial`, the callbacks (through the shipped examples), and the command line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sweeper

SCRIPT = """
import torch
import sweeper

with sweeper.trial(defaults={"lr": 0.1, "steps": 20}) as trial:
    torch.manual_seed(trial.seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.params["lr"])
    trial.plan(total_steps=trial.params["steps"], peak_lr=trial.params["lr"])
    trial.watch(model, optimizer, every=5)
    state = trial.restore()
    if state is not None:
        model.load_state_dict(state["model"])
    for step in range(trial.next_step, trial.params["steps"]):
        x = torch.randn(8, 4)
        loss = (model(x).squeeze(1) - x.sum(dim=1)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"loss/train": loss}, step=step)
        if trial.should_save or trial.should_stop:
            trial.save({"model": model.state_dict()}, step=step)
        if trial.should_stop:
            break
"""
SWEEP = """
name: public
program: train.py
method: grid
metric: {name: loss/train, goal: minimize}
parameters:
  lr: {values: [0.01, 0.1]}
early_stop: auto
resources: {cpus: 1}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trials(directory: Path) -> list[dict[str, Any]]:
    return list(json.loads(run("-m", "sweeper.cli", "status", str(directory), "--json"))["trials"])


def test_everything_that_the_package_names_is_there_and_described() -> None:
    assert {"Trial", "start", "trial"} <= set(sweeper.__all__)
    for name in sweeper.__all__:
        public = getattr(sweeper, name)
        assert isinstance(public, str) or public.__doc__


def test_importing_the_package_loads_the_standard_library_only() -> None:
    script = """
import sys
before = set(sys.modules)
import sweeper
tops = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(tops - sys.stdlib_module_names - {"sweeper"}))
"""
    assert run("-c", script) == "[]\n"


def test_the_version_is_one_number() -> None:
    assert run("-m", "sweeper.cli", "--version") == f"sweeper {sweeper.__version__}\n"


def test_a_script_by_itself_leaves_a_record(folder: Path) -> None:
    Path("train.py").write_text(SCRIPT)
    run("train.py")
    (directory,) = (folder / "runs").iterdir()
    (trial,) = trials(directory)
    assert trial["state"] == "COMPLETE"


FLAT = """
import sweeper

trial = sweeper.start(defaults={"lr": 0.1})
for step in range(3):
    trial.report({"loss/train": trial.params["lr"] / (step + 1)}, step=step)
"""


def test_a_flat_script_is_watched_until_it_exits(folder: Path) -> None:
    Path("train.py").write_text(FLAT)
    Path("sweep.yaml").write_text(SWEEP)
    run("-m", "sweeper.cli", "run", "sweep.yaml")
    assert [trial["state"] for trial in trials(folder / "runs/public")] == ["COMPLETE", "COMPLETE"]
    Path("train.py").write_text(f"{FLAT}\nraise ValueError('too hot')\n")
    assert subprocess.run([sys.executable, "train.py"], capture_output=True, check=False).returncode == 1
    (directory,) = (path for path in (folder / "runs").iterdir() if path.name != "public")
    assert [trial["state"] for trial in trials(directory)] == ["FAIL"]


def test_a_sweep_of_a_script_runs_to_its_end_and_reads_its_parameters(folder: Path) -> None:
    Path("train.py").write_text(SCRIPT)
    Path("sweep.yaml").write_text(SWEEP)
    run("-m", "sweeper.cli", "run", "sweep.yaml")
    found = trials(folder / "runs/public")
    assert [trial["state"] for trial in found] == ["COMPLETE", "COMPLETE"]
    assert [trial["params"]["lr"] for trial in found] == [0.01, 0.1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "library", "words"),
    [
        ("plain", "torch", ["activation=tanh", "steps=60"]),
        ("trainer", "accelerate", ["lr=1e-3", "steps=20"]),
        ("lightning", "lightning", ["activation=tanh", "epochs=1"]),
    ],
)
def test_a_shipped_example_runs_where_it_was_written(
    folder: Path, example: str, library: str, words: list[str]
) -> None:
    pytest.importorskip(library)
    run("-m", "sweeper.cli", "init", "--example", example)
    (file,) = folder.glob("*.yaml")
    run("-m", "sweeper.cli", "run", file.name, *words)
    (directory,) = (folder / "runs").iterdir()
    (trial,) = trials(directory)
    assert trial["state"] == "COMPLETE"
