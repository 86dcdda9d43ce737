"""Audits in real processes: flagged trials continue, the rate is measured, and a rule may be disabled."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeper.backtest.audits import audits_of_runs, runs_beside
from sweeper.record.storage.layout import SweepDir

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time, torch, sweeper
from torch import nn

with sweeper.trial() as trial:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(16, 16), nn.Tanh()) for _ in range(6)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    trial.plan(total_steps=100)
    trial.watch(model, optimizer, every=5)
    state = trial.restore()
    for step in range(0 if state is None else state["step"] + 1, 100):
        model(torch.randn(8, 16)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        trial.report({"score": step * trial.params["slope"]}, step=step)
        time.sleep(0.03)
        if trial.should_save:
            trial.save({"step": step}, step=step)
        if trial.should_stop:
            break
"""

FLAGS_ALL = {"stalled": {"below": 0.999, "loss": "none", "grace_steps": 30}}
"""A rule that flags every trial of the script: the reach of its network is below 0.999."""


def sweep(folder: Path, name: str, *, slopes: list[float], audit: float) -> tuple[str, list[dict[str, Any]]]:
    """Run a sweep with a rule that flags every trial; return what it printed, and the trials of its status."""
    (folder / "train.py").write_text(SCRIPT)
    spec = {
        "name": name,
        "method": "grid",
        "metric": {"name": "score", "goal": "maximize"},
        "program": "train.py",
        "command": ["${interpreter}", "${program}"],
        "parameters": {"slope": {"values": slopes}},
        "early_stop": {"audit": audit, "rules": [FLAGS_ALL]},
        "resources": {"cpus": 1},
        "notify": {"on": "breaker", "command": ["sh", "-c", f"cat >> {name}.told"]},
    }
    (folder / f"{name}.yaml").write_text(json.dumps(spec))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sweeper.cli"]

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=True
        )
        return done.stdout

    out = call("run", f"{name}.yaml")
    return out, json.loads(call("status", f"runs/{name}", "--json"))["trials"]


@pytest.mark.slow
def test_audited_trials_continue_and_the_rate_is_measured_over_sweeps(tmp_path: Path) -> None:
    out, trials = sweep(tmp_path, "one", slopes=[0.0, 0.001, 1.0], audit=1.0)
    assert [(t["state"], t["step"], t["spared"]["as"]) for t in trials] == [("COMPLETE", 99, "audited")] * 3
    assert "continues (audit)" in out
    assert re.search(
        r"the rule \w+ \(version [0-9a-f]+\): 1 of 3 audited trials was a learner: false-stop rate at most", out
    )
    out, trials = sweep(tmp_path, "two", slopes=[0.0, 0.002, 1.0], audit=1.0)
    assert "2 of 6 audited trials were learners" in out
    (outcomes,) = audits_of_runs(runs_beside(SweepDir(tmp_path / "runs/two"))).values()
    assert (outcomes.audits, outcomes.false_stops) == (6, 2)


@pytest.mark.slow
def test_a_rule_that_the_audit_disabled_stops_no_trial(tmp_path: Path) -> None:
    """Three audits of one sweep find only learners, so the rule is disabled in the next sweep."""
    sweep(tmp_path, "before", slopes=[1.0, 1.1, 1.2], audit=1.0)
    out, trials = sweep(tmp_path, "after", slopes=[1.0, 1.1], audit=0.0)
    assert [(t["state"], t["spared"]["as"]) for t in trials] == [("COMPLETE", "breaker")] * 2
    assert (
        "is disabled and stops no more trials, because it is wrong too often: 3 of 3 audited trials were learners"
        in out
    )
    (told,) = (tmp_path / "after.told").read_text().splitlines()
    assert json.loads(told)["event"] == "breaker"
    assert "is disabled and stops no more trials" in json.loads(told)["text"]


@pytest.mark.slow
def test_trials_that_a_disabled_rule_stopped_are_revived(tmp_path: Path) -> None:
    """The random assignment of this name stops trial 0 and audits 1 and 2, which are both learners."""
    out, trials = sweep(tmp_path, "live8", slopes=[1.0, 1.1, 1.2], audit=0.6)
    assert [(t["state"], t["spared"]["as"]) for t in trials] == [
        ("COMPLETE", "revived"),
        ("COMPLETE", "audited"),
        ("COMPLETE", "audited"),
    ]
    assert "is disabled and stops no more trials" in out
    assert "Trial 0000 is revived" in out
