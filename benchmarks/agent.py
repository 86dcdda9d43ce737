"""What a fixed policy saves that drives a sweep by `sweeper mcp`, beside the plain grid, on experiments/warmup.yaml.

    python benchmarks/agent.py FOLDER [KEY=VALUE ...] [--seeds 0 1 2] [--workers 2] [--save NAME]   (hours on two cores)

The plain grid runs all of its trials to their ends. The policy is no language model: it starts with the corners of the
grid, stops what a rule has flagged, and adds the neighbours of the best trial in the grid until none is left. A best
trial that it stopped itself is revived at last. It sees what the tools answer and nothing else, over stdio, by the
official client. Both use the same seeds, and no rule stops a trial by itself (`early_stop: {mode: observe}`). FOLDER
keeps the runs: called again, it resumes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from mcp import Client, StdioServerParameters, stdio_client
from mcp_types import Implementation
from rich.table import Table

from sweeper.record.storage.layout import SweepDir
from sweeper.results.status import read_sweep

ROOT = Path(__file__).parents[1]
SWEEP = ROOT / "experiments" / "warmup.yaml"
AXES: Mapping[str, Sequence[float]] = {
    "lr": (1e-4, 2e-4, 3e-4, 5e-4, 8e-4, 1.2e-3, 2e-3),
    "warmup_fraction": (0.1, 0.7),
}
"""The plain grid: fourteen trials."""
CORNERS: Mapping[str, Sequence[float]] = {"lr": (2e-4, 8e-4), "warmup_fraction": (0.1, 0.7)}
"""Where the policy begins: four trials."""
OBSERVE = "early_stop={mode: observe}"
GOAL = 0.6
"""The largest share of the plain grid's steps."""
PATIENCE_S = 60.0
Point = tuple[int, ...]


class Outcome(NamedTuple):
    """What a sweep came to: its best value, the optimizer steps of all trials, and how many trials it has."""

    best: float
    steps: int
    trials: int


def main() -> int:
    """Run what is missing, and print; the exit code is 1 if a seed misses a goal."""
    from benchmarks.machine import description, present  # with torch, which a test of the policy does not need

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps the runs")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of the sweep file, as in epochs=2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="a grid and an agent for each")
    parser.add_argument("--workers", type=int, default=2, help="concurrent trials (default: 2)")
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_intermixed_args()
    machine = description()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / SWEEP.name).write_bytes(SWEEP.read_bytes())
    pairs = {}
    for seed in options.seeds:
        shared = [*options.overrides, f"seeds=[{seed}]", OBSERVE]
        run_grid(options.folder, f"grid-{seed}", shared, options.workers)
        policy = Policy(f"agent-{seed}", shared, options.workers)
        anyio.run(partial(driven, options.folder, policy))
        pairs[seed] = [outcome(options.folder / "runs" / f"{kind}-{seed}") for kind in ("grid", "agent")]
    table, is_reached = tabled(pairs)
    present("What a scripted agent saves", " ".join(["python", *sys.argv]), machine, [table], save=options.save)
    return int(not is_reached)


def tabled(pairs: Mapping[int, Sequence[Outcome]]) -> tuple[Table, bool]:
    """Return the table, and whether each seed reaches the goal."""
    table = Table(title="A scripted agent beside the plain grid: best test accuracy, and optimizer steps of all trials")
    for name in ("seed", "grid: best", "trials", "steps", "agent: best", "trials", "steps", "share of the steps"):
        table.add_column(name, justify="right")
    is_reached = True
    for seed, (grid, agent) in pairs.items():
        share = agent.steps / grid.steps
        is_reached &= agent.best >= grid.best and share <= GOAL
        cells = [
            f"{cell:.4f}" if isinstance(cell, float) else f"{cell:,}"
            for one in (grid, agent)
            for cell in (one.best, one.trials, one.steps)
        ]
        table.add_row(str(seed), *cells, f"{share:.0%}")
    table.caption = f"The goal is at least the grid's best with at most {GOAL:.0%} of its steps."
    return table, is_reached


def outcome(path: Path) -> Outcome:
    """Return what a run came to, by its record."""
    trials = read_sweep(SweepDir(path)).trials
    return Outcome(
        best=max(trial.value for trial in trials if trial.value is not None),
        steps=sum(trial.step + 1 for trial in trials),
        trials=len(trials),
    )


def values(axes: Mapping[str, Sequence[float]]) -> list[str]:
    """Return overrides for a grid over these values."""
    return [f"parameters.{name}.values=[{','.join(map(repr, known))}]" for name, known in axes.items()]


def run_grid(folder: Path, name: str, overrides: Sequence[str], workers: int) -> None:
    """Run the plain grid to its end, or resume it."""
    command = ["run", SWEEP.name, f"name={name}", *values(AXES), *overrides, "--workers", str(workers)]
    subprocess.run([sys.executable, "-m", "sweeper.cli", *command], cwd=folder, env=environment(), check=True)


def environment() -> dict[str, str]:
    """Return the variables of a process that runs a sweep: the SDK's client passes few on by itself."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


# ---- the policy ------------------------------------------------------------------------------------------------------


async def driven(folder: Path, policy: Policy) -> None:
    """Let a policy drive its sweep by a server of its own."""
    arguments = ["-m", "sweeper.cli", "mcp", "--act", "--directory", str(folder), "--max-trials", "1000"]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=environment())
    async with Client(stdio_client(server), client_info=Implementation(name="scripted", version="1")) as client:
        policy.client = client
        await policy.drive()


class Policy:
    """Look, stop what is flagged, add the neighbours of the best, and run the best to its end.

    Args:
        run: the name of its run.
        overrides: those of its sweep file.
        workers: number of concurrent trials.
    """

    client: Client

    def __init__(self, run: str, overrides: Sequence[str], workers: int) -> None:
        """Begin at the corners."""
        self.run, self.workers = run, workers
        self.kept: set[int] = set()
        self.overrides = [f"name={run}", *values(CORNERS), *overrides]

    async def drive(self) -> None:
        """Drive the sweep until no neighbour of its best trial is left, and that trial has run to its end."""
        await self.start("the corners of the grid show where to look")
        while True:
            await self.watch()
            rows = await self.trials()
            best = next((row for row in rows if row.get("value") is not None), None)
            if best is None:
                return
            missing = neighbours(best, rows)
            for point in missing:
                params = {name: AXES[name][place] for name, place in zip(AXES, point, strict=True)}
                because = f"a neighbour of the best trial, {best['number']}"
                await self.call("add", run=self.run, params=params, because=because)
            if not missing:
                if best["state"] == "COMPLETE":
                    return
                self.kept.add(best["number"])
                because = "it is the best of all, although it was flagged"
                await self.call("revive", run=self.run, number=best["number"], because=because)
            await self.start("trials are left")

    async def start(self, because: str) -> None:
        """Start the sweep, or resume it, unless it runs."""
        runs = (await self.call("runs"))["runs"]
        if not any(one["name"] == self.run and one["state"] == "RUNNING" for one in runs):
            given = {"file": SWEEP.name, "overrides": self.overrides, "workers": self.workers}
            await self.call("run", because=because, **given)

    async def watch(self) -> None:
        """Wait for the end of the sweep, and stop what is flagged meanwhile."""
        while True:
            await self.call("wait", run=self.run, event="flag", timeout=PATIENCE_S)
            flagged = await self.call("trials", run=self.run, flagged=True, states=["RUNNING"], limit=50)
            for row in flagged["rows"]:
                if row["number"] not in self.kept:
                    self.kept.add(row["number"])  # once is enough
                    because = f"it is flagged: {row.get('health', 'by a rule')}"
                    await self.call("stop", run=self.run, numbers=[row["number"]], because=because)
            if (await self.call("state", run=self.run))["state"] not in ("RUNNING", "PAUSED"):
                return

    async def trials(self) -> list[dict[str, Any]]:
        """Return all trials, the best first."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.call("trials", run=self.run, offset=len(rows), limit=50)
            rows += page["rows"]
            if len(rows) >= page["matched"]:
                return rows

    async def call(self, tool: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        """Call a tool, and print what was done."""
        result = await self.client.call_tool(tool, arguments)
        if result.is_error:
            raise RuntimeError(f"{tool}: {result.content}")
        if "because" in arguments:
            print(
                f"{self.run}: {tool} {arguments.get('numbers', arguments.get('params', ''))}: {arguments['because']}",
                flush=True,
            )
        return result.structured_content


def neighbours(best: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return the places in the grid beside a trial, in any direction, that no trial has."""
    known, here = {place_of(row["params"]) for row in rows}, place_of(best["params"])
    ranges = [
        [place for place in (at - 1, at, at + 1) if 0 <= place < len(axis)]
        for at, axis in zip(here, AXES.values(), strict=True)
    ]
    return [point for point in itertools.product(*ranges) if point not in known]


def place_of(params: Mapping[str, Any]) -> Point:
    """Return the place of a configuration in the grid: an index for each axis."""
    return tuple(
        min(range(len(known)), key=lambda place: abs(known[place] - float(params[name])))
        for name, known in AXES.items()
    )


if __name__ == "__main__":
    sys.exit(main())
