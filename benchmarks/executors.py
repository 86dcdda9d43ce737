"""The warmup sweep of six trials on each executor: whether the table is the same.

    python benchmarks/executors.py [--epochs 2] [--executors local ray slurm] [--save NAME]

Three peak learning rates, each with both lengths of warmup, pruned by the rule of the file. It prints the table, once
where all executors have the same, and what the whole sweep took. The clusters are this machine: a Ray that the sweep
starts, and a Slurm of one node as the tests have it. Of a pruned trial the verdict and its evidence are compared,
not the step at which the worker heard of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.machine import description, present
from tests.slurm.cluster import cluster, missing

ROOT = Path(__file__).parents[1]
RATES = "parameters.lr.values=[3e-4,5e-4,8e-4]"
FIELDS = ("number", "params", "seed", "state", "value", "attempts", "cause", "pruned")
"""What has to be the same everywhere; of `status --json`."""


def main() -> int:
    """Run all, print the tables and keep them; 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--executors", nargs="+", default=["local", "ray", "slurm"])
    parser.add_argument("--save", metavar="NAME", help="keep the tables as benchmarks/results/NAME.md")
    options = parser.parse_args()
    machine = description()
    seconds, tables = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for executor in options.executors:
            with place(executor, Path(folder)) as environment:
                begin = time.monotonic()
                tables[executor] = run(Path(folder), executor, options.epochs, environment)
                seconds[executor] = time.monotonic() - begin
    same = {executor: comparable(rows) == comparable(tables["local"]) for executor, rows in tables.items()}
    summary = Table("executor", "the table of local", "whole sweep", box=None, pad_edge=False)
    for executor, took in seconds.items():
        summary.add_row(executor, "the same, to the last bit" if same[executor] else "ANOTHER", f"{took:.0f} s")
    shown = [name for name, equal in same.items() if name == "local" or not equal]
    command = f"python benchmarks/executors.py --epochs {options.epochs}"
    parts = [summary, *(as_table(name, tables[name]) for name in shown)]
    present("One sweep on each executor", command, machine, parts, save=options.save)
    return 0 if all(same.values()) else 1


@contextlib.contextmanager
def place(executor: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """What is needed around a sweep: the environment of one."""
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}  # as many threads everywhere: sums depend on it
    if executor != "slurm":
        yield threads
        return
    if why := missing():
        raise SystemExit(why)
    with cluster(folder / "slurm") as running:
        yield {**threads, "SLURM_CONF": running.environment["SLURM_CONF"]}


def run(folder: Path, executor: str, epochs: int, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The trials of a sweep once it has ended."""
    name = f"six-{executor}"
    file = str(ROOT / "experiments" / "warmup.yaml")
    call = ["run", file, f"name={name}", RATES, f"epochs={epochs}", f"executor={executor}", "--runs", str(folder)]
    whole = {**os.environ, **environment, "RAY_USAGE_STATS_ENABLED": "0"}
    base = [sys.executable, "-m", "sweeper.cli"]
    subprocess.run([*base, *call, "--workers", "2", "--profile", "cpu"], check=True, env=whole)
    told = subprocess.run(
        [*base, "status", "--json", str(folder / name)], check=True, env=whole, stdout=subprocess.PIPE
    ).stdout
    trials: list[dict[str, Any]] = json.loads(told)["trials"]
    return trials


def comparable(trials: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """What has to be the same of each trial."""
    return [[*(trial[field] for field in FIELDS), trial["pruned"] or trial["step"]] for trial in trials]


def as_table(executor: str, trials: Sequence[Mapping[str, Any]]) -> Table:
    """The trials as a person reads them."""
    table = Table("trial", "lr", "warmup", "state", "accuracy", "step", title=executor, title_justify="left", box=None)
    for trial in trials:
        params = trial["params"]
        value = "-" if trial["value"] is None else f"{trial['value']:.4f}"
        cells = (f"{trial['number']:04d}", f"{params['lr']:g}", f"{params['warmup_fraction']:g}", trial["state"], value)
        table.add_row(*cells, str(trial["step"]))
    return table


if __name__ == "__main__":
    sys.exit(main())
