"""Real records, made by short sweeps: trials that completed, failed, were stopped by a rule, retried and paused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import sweeper
from sweeper.record.storage.layout import SweepDir

ROOT = Path(sweeper.__file__).parents[1]

SCRIPT = """
import os, signal, time, sweeper
with sweeper.trial() as trial:
    kind, lr = trial.params["kind"], trial.params["lr"]
    state = trial.restore() if kind == "killed" else None
    steps = 200 if kind == "diverges" else 12
    trial.plan(total_steps=steps, peak_lr=lr)
    observe = lambda: None
    if kind == "watched":
        import torch
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        trial.watch(model, optimizer, every=2)
        def observe():
            model(torch.randn(3, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    for step in range(state["step"] + 1 if state else 0, steps):
        observe()
        loss = float("nan") if kind == "diverges" and step > 5 else 1 / (1 + lr * step)
        trial.report({"loss": loss, "accuracy": 1 - 1 / (2 + lr * step)}, step=step)
        if kind == "fails" and step == 7:
            raise ValueError(f"no luck at {step}")
        if kind == "killed" and step == 6 and state is None:
            trial.save({"step": step}, step=step)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "diverges" and step > 5:
            time.sleep(0.1)
        if trial.should_stop:
            break
"""

KINDS = ("good", "diverges", "fails", "killed", "watched", "late", "waits")


def grid(kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """The sweep file with a trial of each kind; its budget leaves the last two, one of which is paused."""
    return {
        "name": "kinds",
        "method": "grid",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "parameters": {"kind": {"values": [*kinds]}, "lr": {"value": 0.05}},
        "command": ["${interpreter}", "train.py"],
        "early_stop": {"rules": [{"non_finite": {"metric": "loss"}}]},
        "retry": {"backoff_s": 0.1},
        "budget": {"trials": max(1, len(kinds) - 2)},
    }


def search() -> dict[str, Any]:
    """The sweep file of a search that learns from its values."""
    return {
        "name": "search",
        "method": "bayes",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "parameters": {
            "kind": {"value": "good"},
            "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.5},
        },
        "command": ["${interpreter}", "train.py"],
        "run_cap": 4,
    }


def call(folder: Path, *arguments: str) -> tuple[int, str]:
    """Call the command line in a folder; return its exit code and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "SWEEPER_SLOTS": str(folder / "slots")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def recorded(folder: Path, file: dict[str, Any], paused: int | None = None) -> SweepDir:
    """Run a sweep in a folder; return its run, of which a trial that waits is then paused."""
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(file))
    code, said = call(folder, "run", "sweep.yaml", "--workers", "2")
    assert code in (0, 1), said
    run = SweepDir(folder / "runs" / str(file["name"]))
    if paused is not None:
        code, said = call(folder, "pause", str(run.path), str(paused))
        assert code == 0, said
        call(folder, "run", "sweep.yaml", "--workers", "2")  # it takes in the pause, and retries what failed
    for name in ("tensorboard", "report"):
        shutil.rmtree(run.path / name, ignore_errors=True)
    return run
