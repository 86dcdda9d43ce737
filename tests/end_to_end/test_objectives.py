"""Sweeps with several objectives in real processes: diagnoses stop trials, and a killed sweep proposes the same."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.events import Asked, Told
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of
from tests.end_to_end.test_sweeps import PATIENCE_S, Sweep, until

QUADRATIC = """
import itertools, math, time, sweeper
with sweeper.trial() as trial:
    lr, width, x = trial.params["lr"], trial.params["width"], 1.0
    for step in itertools.count():
        x -= lr * 2 * x
        loss = x * x + 1 / width if abs(x) < 1e15 else math.nan
        trial.report({"loss/train": loss}, step=step)
        if step % 10 == 9:
            trial.report({"loss/val": loss, "latency_ms": width}, step=step)
            trial.report({"memory_gb": width / 2}, step=step)
        time.sleep(0.005)
        if trial.should_stop or (step == 119 and loss < 10):
            break
"""
"""Gradient descent on a parabola; a wider network is better and slower.

Above a learning rate of 1 it diverges, until it is stopped.
"""


def file(method: str) -> dict[str, Any]:
    genetic = {"population_size": 3} if method == "nsga2" else {}
    return {
        "name": "front",
        "method": method,
        "objectives": [{"name": "loss/val"}, {"name": "latency_ms", "goal": "minimize"}],
        "constraints": [{"name": "memory_gb", "max": 12}],
        "run_cap": 9 if method == "nsga2" else 14,
        "parameters": {
            "lr": {"min": 0.01, "max": 30.0, "distribution": "log_uniform_values"},
            "width": {"min": 1, "max": 32, "distribution": "int_uniform"},
        },
        "early_stop": "auto",
        **genetic,
    }


def asked(sweep: Sweep) -> list[tuple[object, object]]:
    events = read_journal(SweepDir(sweep.run_directory).search)
    return [(event.params, event.attributes) for event in events if isinstance(event, Asked)]


@pytest.mark.parametrize("method", ["nsga2", "tpe"])
def test_a_sweep_that_is_killed_and_resumed_proposes_the_same(tmp_path: Path, method: str) -> None:
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    whole, killed = (Sweep(folder, QUADRATIC, file(method)) for folder in folders)
    run = ("run", "sweep.yaml", "--workers", "1")
    code, out, err = whole.call(*run)
    assert code == 0, out + err
    first = killed.start(*run)
    until(lambda: killed.run_directory.exists() and len(asked(killed)) >= 5)
    os.kill(int(holder_of(killed.run_directory / "lease").split()[1]), signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    assert len(asked(killed)) < len(asked(whole)), "or it was not killed in the middle"
    code, again, err = killed.call(*run)
    assert code == 0, again + err
    assert asked(killed) == asked(whole)

    # The diagnoses, which need no objective, stopped what diverged; the search was told, and the rest has a front.
    status = whole.status()
    stopped = [trial for trial in status["trials"] if trial["state"] == "PRUNED"]
    assert stopped
    assert all(trial["params"]["lr"] > 1 for trial in stopped)
    told = {e.configuration: e for e in read_journal(SweepDir(whole.run_directory).search) if isinstance(e, Told)}
    for trial in stopped:
        assert told[trial["number"]].why.startswith("stopped by ")
        assert told[trial["number"]].values == {}
        assert trial["rank"] is None
    valued = [trial for trial in status["trials"] if trial["state"] == "COMPLETE"]
    for trial in valued:
        assert told[trial["number"]].values == trial["values"]
        assert list(told[trial["number"]].violations) == [trial["constraints"]["memory_gb"] - 12]
        assert trial["feasible"] == (trial["constraints"]["memory_gb"] <= 12)
    points = {t["number"]: (t["values"]["loss/val"], t["values"]["latency_ms"]) for t in valued if t["feasible"]}
    assert set(status["front"]) == {
        number
        for number, (loss, latency) in points.items()
        if not any(a <= loss and b <= latency and (a, b) != (loss, latency) for a, b in points.values())
    }
    assert f"Pareto front of {len(status['front'])} trial" in out
    line = json.dumps(status["trials"][stopped[0]["number"]]["pruned"])
    assert "diverged" in line or "non_finite" in line
