"""The example sweeps in `experiments/`, unchanged, and their scripts with two ranks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sweeper

ROOT = Path(sweeper.__file__).parents[1]
PATIENCE_S = 110.0
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

pytestmark = pytest.mark.slow


def run(name: str, folder: Path, *overrides: str) -> tuple[list[dict[str, Any]], Path]:
    """Run `experiments/NAME.yaml` from the root of the repository; its trials by `sweeper status`, its directory."""
    cli = [sys.executable, "-m", "sweeper.cli"]
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": PATIENCE_S}
    options["env"] = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*cli, "run", f"experiments/{name}.yaml", *overrides, "--runs", str(folder)], **options)
    assert done.returncode == 0, done.stdout + done.stderr
    (directory,) = folder.iterdir()
    status = subprocess.run([*cli, "status", str(directory), "--json"], **options)
    trials: list[dict[str, Any]] = json.loads(status.stdout)["trials"]
    return trials, directory


def processes_of(folder: Path) -> list[str]:
    """Return the living processes of trials below a folder, found by the mark in their environment."""
    alive = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SWEEPER_TRIAL_DIR={folder}".encode() in environ.read_bytes():
                alive.append(environ.parent.name)
        except OSError:
            continue
    return alive


@pytest.mark.parametrize(
    ("name", "diagnosis"),
    [
        ("plain_loop", "vanishing_gradient"),
        ("hf_trainer", "vanishing_gradient"),
        ("lightning_module", "vanishing_gradient"),
    ],
)
def test_an_example_stops_the_failing_trial_and_completes_the_learning_one(
    name: str, diagnosis: str, tmp_path: Path
) -> None:
    (learner, failed), _ = run(name, tmp_path)
    assert (learner["state"], learner["step"]) == ("COMPLETE", learner["total_steps"] - 1)
    assert (failed["state"], failed["pruned"]["rule"]) == ("PRUNED", "vanishing_gradient")
    assert failed["step"] < failed["total_steps"] - 1
    assert learner["value"] is not None
    assert "loss/train began at" in failed["pruned"]["reason"]
    assert processes_of(tmp_path) == []


DEAF = """
    import os, signal
    if os.environ.get("LOCAL_RANK") == "1":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


def two_ranks(name: str) -> str:
    """The script of an example with two ranks, each saying where it stops; the second has to hear it from the first."""
    script = (ROOT / "experiments" / f"{name}.py").read_text("utf-8")
    match name:
        case "ddp":
            return re.sub(r"(with sweeper.trial.*\n)", rf"\1{DEAF}", script)
        case "hf_trainer":
            script = script.replace('report_to="none"', 'report_to="none", use_cpu=True, ddp_backend="gloo"')
            script = re.sub(r"(with sweeper.trial.*\n)", rf"\1{DEAF}", script)
            where = "{arguments.process_index} stops after step {trainer.state.global_step - 1}"
            return f'{script}\nprint(f"rank {where}")\n'
        case _:  # Lightning starts the second rank itself, so that a signal reaches the first alone
            devices = 'accelerator="cpu", devices=2, strategy="ddp", max_epochs='
            where = "{trainer.global_rank} stops after step {trainer.global_step - 1}"
            return f'{script.replace("max_epochs=", devices)}\n    print(f"rank {where}")\n'


@pytest.mark.parametrize(
    ("name", "parameter", "command"),
    [
        ("ddp", "activation=sigmoid", TORCHRUN),
        ("hf_trainer", "lr=3e-2", TORCHRUN),
        ("lightning_module", "activation=sigmoid", [sys.executable]),
    ],
)
def test_all_ranks_of_a_pruned_trial_stop_after_the_same_step(
    name: str, parameter: str, command: list[str], tmp_path: Path
) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(two_ranks(name))
    words = json.dumps(["${env}", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", *command, str(script)])
    (trial,), directory = run(name, tmp_path / "runs", parameter, f"command={words}", "resources={cpus: 2}")
    assert (trial["state"], trial["attempts"]) == ("PRUNED", 1)
    output = (directory / "trials/0000/attempts/1/output.log").read_text("utf-8")
    stops = {int(rank): int(step) for rank, step in re.findall(r"rank (\d) stops after step (\d+)", output)}
    assert stops == {0: trial["step"], 1: trial["step"]}, output
    assert trial["step"] < trial["total_steps"] - 1
    events = (directory / "trials/0000/attempts/1/events.jsonl").read_text("utf-8").splitlines()
    assert json.loads(events[-1])["outcome"] == "stopped"
    *_, checkpoint = sorted((directory / "trials/0000/checkpoints").iterdir())  # before it, one of the cadence
    assert f"step-{trial['step']:09d}." in checkpoint.name
    assert processes_of(tmp_path) == []
