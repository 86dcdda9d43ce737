"""What a report costs the training thread: `trial.report` beside TensorBoard's writer and a bare line of JSON.

    python benchmarks/report.py [--save NAME]

Each reports the same four scalars (loss, accuracy, learning rate, gradient norm) many times, in turns, in one run. On
CUDA the loss and the norm are also reported as tensors on the device, which nothing may wait for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

import sweeper
from benchmarks.machine import alone, description, present

REPORTS, ROUNDS = 2000, 7
GOAL_US = 50
Report = Callable[[int], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_args()
    machine = description()
    with alone(), sweeper.trial() as trial, SummaryWriter("tensorboard") as writer:
        ways = ways_of(trial, writer)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS + 1):
            for name, report in ways.items():
                begin = time.perf_counter()
                for step in range(REPORTS):
                    report(step)
                seconds[name].append((time.perf_counter() - begin) / REPORTS)
    table = Table(title=f"Microseconds a report of four scalars, over {ROUNDS} rounds of {REPORTS}")
    for heading in ("", "median", "least", "most", "over a line of JSON"):
        table.add_column(heading, justify="left" if not heading else "right")
    medians = {name: 1e6 * statistics.median(times[1:]) for name, times in seconds.items()}
    for name, times in seconds.items():
        least, most, ratio = 1e6 * min(times[1:]), 1e6 * max(times[1:]), medians[name] / medians["a line of JSON"]
        table.add_row(name, f"{medians[name]:.1f}", f"{least:.1f}", f"{most:.1f}", f"{ratio:.1f}x")
    table.caption = f"The goal of trial.report is at most {GOAL_US} microseconds."
    present("What a report costs", " ".join(["python", *sys.argv]), machine, [table], save=options.save)


def ways_of(trial: sweeper.Trial, writer: SummaryWriter) -> dict[str, Report]:
    """What is compared: each takes a step and reports the same values for it."""
    floats = {"loss/train": 1.25, "accuracy/train": 0.5, "learning_rate": 3e-4, "gradient/norm": 2.0}
    tensors: dict[str, float | torch.Tensor] = {
        **floats,
        "loss/train": torch.tensor(1.25),
        "gradient/norm": torch.tensor(2.0),
    }
    ways = {
        "trial.report, floats": lambda step: trial.report(floats, step=step),
        "trial.report, two tensors on the CPU": lambda step: trial.report(tensors, step=step),
        "a line of JSON": by_json(Path("lines.jsonl"), floats),
        "TensorBoard's SummaryWriter, floats": by_tensorboard(writer, floats),
    }
    if torch.cuda.is_available():
        there: dict[str, float | torch.Tensor]
        there = {name: v.cuda() if isinstance(v, torch.Tensor) else v for name, v in tensors.items()}
        ways["trial.report, two tensors on CUDA"] = lambda step: trial.report(there, step=step)
        ways["TensorBoard's SummaryWriter, two tensors on CUDA"] = by_tensorboard(writer, there)
    return ways


def by_json(path: Path, values: Mapping[str, float]) -> Report:
    """A line appended to a file, unbuffered: the least that leaves a record."""
    file = path.open("ab", buffering=0)
    return lambda step: file.write(json.dumps({"time": time.time(), "step": step, **values}).encode() + b"\n")


def by_tensorboard(writer: SummaryWriter, values: Mapping[str, float | torch.Tensor]) -> Report:
    """One call a scalar, to a queue that a thread writes from."""

    def report(step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return report


if __name__ == "__main__":
    main()
