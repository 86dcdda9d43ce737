"""What Ray adds: from an event on a node to the verdict here, and to the launch of a trial; beside the local executor.

    python benchmarks/ray_latency.py [--trials 20] [--torch] [--save NAME]

`event to verdict`: from the time that a worker wrote beside a loss that is not finite to the time that the orchestrator
wrote beside its stop, median and worst over the trials. `a trial`: of trials that do nothing, preloaded, on two slots:
the wall time from the launch of the first of the later half to the last end, over their number. `start`: from the call
to the first launch, which has the start of Ray in it. The cluster is this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.machine import description, present

SLOTS = 2
DIVERGES = """
import time, sweeper
with sweeper.trial() as trial:
    for step in range(200):
        trial.report({"loss/train": float("nan") if step >= 20 else 1.0, "x": 1.0}, step=step)
        if trial.should_stop:
            break
        time.sleep(0.05)
"""
NOTHING = """
{imports}
import sweeper
with sweeper.trial() as trial:
    trial.report({"x": trial.params["i"]}, step=0)
"""


def main() -> None:
    """Run both, print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--torch", action="store_true", help="the trials that do nothing import torch first")
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_args()
    machine = description()
    table = Table("", "event to verdict", "worst", "a trial", "ratio", "start", box=None, pad_edge=False)
    base = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for executor in ("local", "ray"):
            place = Path(folder)
            verdicts = latencies(run(place, executor, options.trials, DIVERGES, early_stop=True)[0])
            nothing = NOTHING.replace("{imports}", "import torch" if options.torch else "")
            record, began = run(place, executor, options.trials, nothing, early_stop=False)
            a_trial, start = launches(record, began)
            base = base or a_trial
            times = (statistics.median(verdicts), max(verdicts), a_trial)
            told = [f"{1000 * seconds:.0f} ms" for seconds in times]
            table.add_row(f"executor: {executor}", *told, f"{a_trial / base:.1f}", f"{start:.1f} s")
    command = f"python benchmarks/ray_latency.py --trials {options.trials}{' --torch' if options.torch else ''}"
    present("What Ray adds", command, machine, [table], save=options.save)


def run(folder: Path, executor: str, trials: int, script: str, *, early_stop: bool) -> tuple[Path, float]:
    """A sweep of so many trials; its directory, and when it was called."""
    (folder / "train.py").write_text(script)
    rules = {"early_stop": {"rules": [{"non_finite": {"patience": 1, "metric": "loss/train"}}]}} if early_stop else {}
    spec: dict[str, Any] = {
        "name": f"{executor}-{'verdict' if early_stop else 'launch'}",
        "method": "grid",
        "command": ["${interpreter}", "train.py", "${args}"],
        "metric": {"name": "x"},
        "parameters": {"i": {"values": list(range(trials))}},
        "resources": {"cpus": 1},
        "launch": "preload",
        "executor": executor,
        **rules,
    }
    (folder / "file.yaml").write_text(json.dumps(spec))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "sweeper.cli", "run", "file.yaml", "--workers", str(SLOTS)]
    began = time.time()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder / "runs" / spec["name"], began


def latencies(record: Path) -> list[float]:
    """Seconds from the first loss that is not finite to the stop, of each trial."""
    found = []
    for trial in record.glob("trials/*"):
        events = lines(trial / "attempts/1/events.jsonl")
        lost = next(e["time"] for e in events if e["event"] == "Metrics" and e["values"]["loss/train"] == "nan")
        stopped = next(e["time"] for e in lines(trial / "control.jsonl") if e["event"] == "StopRequested")
        found.append(stopped - lost)
    return found


def launches(record: Path, began: float) -> tuple[float, float]:
    """Seconds of a trial in the later half, and from the call to the first launch."""
    trials = sorted(record.glob("trials/*"))
    launched = [lines(trial / "control.jsonl")[0]["time"] for trial in trials]
    ended = [json.loads((trial / "attempts/1/exit.json").read_text())["time"] for trial in trials]
    half = len(trials) // 2  # by then the preloaded processes serve
    return (max(ended) - launched[half]) / (len(trials) - half), launched[0] - began


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


if __name__ == "__main__":
    main()
