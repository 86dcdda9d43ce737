"""A sweep that starts with known settings and learns from another run: killed and resumed, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_sweeps import Sweep, until

SCRIPT = """
import math, time, sweeper
with sweeper.trial() as trial:
    time.sleep(0.3)
    if trial.params["lr"] > 1e-2:
        raise ValueError("diverged")
    trial.report({"loss": math.log10(trial.params["lr"] / 1e-3) ** 2 + trial.params["warmup"]}, step=0)
"""
FILE: dict[str, Any] = {
    "method": "tpe",
    "metric": {"name": "loss"},
    "parameters": {
        "lr": {"min": 1e-5, "max": 10.0, "distribution": "log_uniform_values"},
        "warmup": {"min": 0.0, "max": 1.0},
    },
    "run_cap": 6,
}
KNOWN = {"start_with": [{"lr": 1e-4, "warmup": 0.75}, {"lr": 0.5}], "learn_from": ["other"]}


def proposals(sweep: Sweep) -> list[object]:
    lines = (sweep.run_directory / "search.jsonl").read_text().splitlines()
    return [event["params"] for event in map(json.loads, lines) if event["event"] == "Asked"]


@pytest.mark.slow
def test_a_killed_sweep_goes_on_as_if_nothing_had_happened_and_without_the_other_run(tmp_path: Path) -> None:
    for name in ("other", "undisturbed", "killed"):
        (tmp_path / name).mkdir()
    other = Sweep(tmp_path / "other", SCRIPT, {**FILE, "name": "other"})
    other.call("run", "sweep.yaml")
    sweeps = {}
    for name in ("undisturbed", "killed"):
        sweeps[name] = Sweep(tmp_path / name, SCRIPT, {**FILE, **KNOWN, "name": "s"})
        shutil.copytree(other.run_directory, sweeps[name].folder / "runs" / "other")

    out = sweeps["undisturbed"].call("run", "sweep.yaml", "--workers", "1")[1]
    assert "learn_from: other: 6 configurations taken" in out
    whole = proposals(sweeps["undisturbed"])
    assert len(whole) == 6
    assert whole[0] == {"lr": 1e-4, "warmup": 0.75}
    assert "start_with: lr=1e-4, warmup=0.75" in sweeps["undisturbed"].call("why", "runs/s", "0")[1]
    why = sweeps["undisturbed"].call("why", "runs/s", "1")[1]
    assert "the worst value so far, because it failed: error" in why
    assert "learn_from: other: 6 configurations taken" in sweeps["undisturbed"].call("why", "runs/s")[1]

    killed = sweeps["killed"]
    process = killed.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: (killed.run_directory / "search.jsonl").exists() and len(proposals(killed)) == 3)
    process.kill()
    process.communicate()
    shutil.rmtree(killed.folder / "runs" / "other")
    out = killed.call("run", "sweep.yaml", "--workers", "1")[1]
    assert "as in earlier calls" in out
    assert proposals(killed) == whole
