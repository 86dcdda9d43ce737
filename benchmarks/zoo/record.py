"""Record the zoo's cases with sweeper: `python -m benchmarks.zoo.record --out runs/zoo`.

The sweep is a grid over the parameter `case` (`task/arm`) and the seeds, without early stopping. Its trials are forked
from a process that has imported torch. The same command on the same directory resumes the sweep; more cases or seeds
are added to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.zoo.catalogue import tasks
from benchmarks.zoo.task import SCORE

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 5


def cases(names: Sequence[str] | None, arms: Sequence[str] | None) -> list[str]:
    """Return the cases of the tasks and arms with these names, by default of all.

    Raises:
        SystemExit: there are none.
    """
    found = [
        f"{task.name}/{arm.name}"
        for task in tasks().values()
        if names is None or task.name in names
        for arm in task.arms
        if arms is None or arm.name in arms
    ]
    if not found:
        raise SystemExit(f"no task and arm of the zoo has these names; the tasks are {', '.join(tasks())}")
    return found


def sweep(name: str, chosen: Sequence[str], seeds: int) -> dict[str, object]:
    """Return the sweep file's content."""
    return {
        "name": name,
        "description": "Small trainings with known outcomes, without early stopping",
        "trainer": "benchmarks.zoo.train:train",
        "launch": "preload",
        "method": "grid",
        "metric": {"name": SCORE, "goal": "maximize", "at": "last"},
        "seeds": list(range(seeds)),
        "parameters": {"case": {"values": list(chosen)}},
        "early_stop": {"rules": []},
        "resources": {"cpus": 1},
        "figures": {"every_steps": 1_000_000, "most_runs": 1},
    }


def main() -> int:
    """Write the sweep file beside the run, and run it."""
    parser = argparse.ArgumentParser(description="Record the zoo's cases with sweeper")
    parser.add_argument("--tasks", nargs="+", help="names of tasks (default: all)")
    parser.add_argument("--arms", nargs="+", help="names of arms (default: all)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"number of seeds (default: {SEEDS})")
    parser.add_argument("--workers", type=int, help="number of concurrent trials (default: as many as there are cores)")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="directory of the run (default: runs/zoo)")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(sweep(out.name, cases(options.tasks, options.arms), options.seeds), sort_keys=False))
    command = [sys.executable, "-m", "sweeper.cli", "run", str(file), "--runs", str(out.parent), "--share"]
    if options.workers is not None:
        command += ["--workers", str(options.workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
