"""Run the third-party cases of `../shared/external` under sweeper, and print the true outcome of each run.

    python benchmarks/external.py record [--seeds 0 1] [--workers 2]   # into runs/external; resumes
    python benchmarks/external.py truth runs/external > truth.json

The cases are public training programs with a known problem or none, declared as data. They are read from a directory
beside the project and are not part of it. No threshold is set on them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from sweeper.record.progress import evaluations
from sweeper.record.reader import read_trials
from sweeper.record.storage.layout import SweepDir

ROOT = Path(__file__).resolve().parents[1]
EXTERNAL = ROOT.parent / "shared/external"
METRIC = "score/test"

CLASSES = {
    "bad_input_scale": ["input_scale"],
    "dead_units": ["dead_units", "no_gradient"],
    "exploding": ["diverged", "non_finite"],
    "frozen": ["frozen"],
    "no_gradient": ["no_gradient"],
    "non_finite": ["non_finite"],
    "not_trained_parameters": ["unused_parameters"],
    "saturated": ["saturated"],
    "stuck_at_chance": ["stuck"],
    "vanishing": ["vanishing_gradient"],
    "wrong_loss_or_activation": ["loss_mismatch"],
}
"""For each problem of a case, the diagnoses of sweeper that count as right."""


def main() -> None:
    """Record the cases, or print the true outcomes of recorded ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    record = commands.add_parser("record", help="run the cases")
    record.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    record.add_argument("--workers", type=int, default=2)
    record.add_argument("--runs", type=Path, default=ROOT / "runs")
    record.set_defaults(run=_record)
    truth = commands.add_parser("truth", help="print the true outcomes of recorded runs as JSON")
    truth.add_argument("run_directory", type=Path)
    truth.set_defaults(run=_truth)
    options = parser.parse_args()
    options.run(options)


def _cases() -> dict[str, dict[str, Any]]:
    cases: dict[str, dict[str, Any]] = json.loads((EXTERNAL / "cases.json").read_text())
    return cases


def _record(options: argparse.Namespace) -> None:
    options.runs.mkdir(parents=True, exist_ok=True)
    data = options.runs / "external-data"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    corpus = os.environ.get("SCIKIT_LEARN_DATA", str(EXTERNAL.parent / "data"))
    environment = {**os.environ, **threads, "EXTERNAL_DATA": str(data), "SCIKIT_LEARN_DATA": corpus}
    if not (data / "names.npz").exists():
        subprocess.run([sys.executable, EXTERNAL / "make_data.py"], check=True, env=environment)
    sweep = {
        "name": "external",
        "command": ["${interpreter}", str(EXTERNAL / "train.py")],
        "method": "grid",
        "metric": {"name": METRIC, "goal": "maximize"},
        "seeds": options.seeds,
        "parameters": {"case": {"values": list(_cases())}},
        "resources": {"cpus": 1},
    }
    file = options.runs / "external.yaml"
    file.write_text(yaml.safe_dump(sweep, sort_keys=False))
    words = ["run", str(file), "--runs", str(options.runs), "--workers", str(options.workers), "--share"]
    subprocess.run([sys.executable, "-m", "sweeper.cli", *words], check=False, env=environment)


def _truth(options: argparse.Namespace) -> None:
    """Print the outcomes: a run learned if its last score gains at least half of its counterpart's median gain."""
    cases = _cases()
    trials, _ = read_trials(SweepDir(options.run_directory))
    last: dict[str, list[tuple[int, int, float]]] = {}
    for trial, entries in trials:
        values = evaluations([entry.event for entry in entries], METRIC)
        if values:
            of = str(trial.facts.params["case"])
            last.setdefault(of, []).append((trial.number, trial.facts.seed, values[-1].value))
    rows = []
    for name, runs in last.items():
        case = cases[name]
        base = case["base"]
        counterpart = name if case["label"] == "healthy" else case["pair"] if case.get("pair") in last else None
        gains = [value - base for _, _, value in last.get(counterpart or "", []) if math.isfinite(value)]
        reference = statistics.median(gains) if gains else math.nan
        for number, seed, value in runs:
            gain = value - base if math.isfinite(value) else 0.0
            failed = case["label"] == "failing" if math.isnan(reference) else gain < reference / 2
            classes = CLASSES.get(case["problem_class"], []) if failed else []
            rows.append({"number": number, "failed": failed, "class": classes, "seed": seed, "task": name})
    print(json.dumps(sorted(rows, key=lambda row: row["number"]), indent=1))


if __name__ == "__main__":
    main()
