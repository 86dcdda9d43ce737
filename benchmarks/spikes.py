"""How often a healthy training has a spike: the false alarms of several tests at their published thresholds.

Trains good arms of the zoo step by step, and passes the loss and the gradient norm of each step to all tests of
`sweeper.record.values.outliers`. Nothing in these runs is corrupted, so each spike is a false alarm.

    python benchmarks/spikes.py --arms 1 --save spikes-2-cores
"""

from __future__ import annotations

import argparse
import functools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.table import Table

from benchmarks.machine import description, present
from benchmarks.zoo.catalogue import tasks
from benchmarks.zoo.task import Settings, Task
from sweeper.record.values.losses import is_trained_loss
from sweeper.record.values.outliers import MeanWindow, MedianWindow, MovingMean, OutlierTest
from sweeper.rules.calibration.intervals import clopper_pearson
from sweeper.rules.signals.metric_names import training_loss
from sweeper.worker.guard import gradient_norm

Kind = Callable[[], OutlierTest]
TESTS: Mapping[str, Kind] = {
    "default": MedianWindow,
    "MAD": functools.partial(MedianWindow, mad_alone=True),
    "mean": MeanWindow,
    "moving": MovingMean,
}
"""6 sigma over 128 values: what sweeper does, the MAD alone, mean and standard deviation. 2.5 sigma: a moving mean."""
SERIES = ("loss", "gradient norm")
STEPS_OF_TIMING = 20_000


@dataclass(frozen=True, slots=True)
class Run:
    """The spikes of one run, by test and series."""

    task: str
    steps: int
    found: dict[tuple[str, str], int]
    either: dict[str, int]


def run(task: Task, settings: Settings, seed: int) -> Run:
    """Train one arm and count its spikes."""
    np.random.seed(seed)  # noqa: NPY002 - for libraries that draw from the global generator
    training = task.build(settings, seed)
    norms = _norms(training.optimizers)
    tests: dict[tuple[str, str], OutlierTest] = {(t, s): TESTS[t]() for t in TESTS for s in SERIES}
    found = dict.fromkeys(tests, 0)
    either = dict.fromkeys(TESTS, 0)
    for step in range(task.steps):
        logged = training.step(step)
        name = training_loss(logged) or next((one for one in logged if is_trained_loss(one)), None)
        values = {"gradient norm": max(norms)} if norms else {}
        norms.clear()
        if name is not None:
            values["loss"] = float(logged[name])
        for test in TESTS:
            new = [series for series, value in values.items() if tests[test, series].take(value) is not None]
            for series in new:
                found[test, series] += 1
            either[test] += bool(new)
    return Run(task=task.name, steps=task.steps, found=found, either=either)


def _norms(optimizers: Sequence[torch.optim.Optimizer]) -> list[float]:
    """Return a list to which each step of an optimizer appends its gradient norm."""
    norms: list[float] = []

    def before(optimizer: torch.optim.Optimizer, *_: object) -> None:
        norm = gradient_norm(p for group in optimizer.param_groups for p in group["params"])
        norms.append(float("nan") if norm is None else norm.item())

    for optimizer in optimizers:
        optimizer.register_step_pre_hook(before)
    return norms


def microseconds(test: Kind) -> float:
    """Return the time of one value of noise in a test."""
    generator = random.Random(0)
    values = [generator.gauss(1, 0.1) for _ in range(STEPS_OF_TIMING)]
    one = test()
    begun = time.perf_counter()
    for value in values:
        one.take(value)
    return (time.perf_counter() - begun) / len(values) * 1e6


def tables(runs: Sequence[Run]) -> list[Table]:
    """Return the table of false alarms, and that of the cost."""
    table = Table(title="Steps with a false alarm, by task", title_justify="left")
    table.add_column("task", no_wrap=True)
    for column in ("runs", "steps", *TESTS):
        table.add_column(column, justify="right")
    names = list(dict.fromkeys(one.task for one in runs))
    for name in [*names, ""]:
        of_task = [one for one in runs if name in ("", one.task)]
        counts = [sum(one.either[test] for one in of_task) for test in TESTS]
        steps = sum(one.steps for one in of_task)
        table.add_row(name or "all", str(len(of_task)), f"{steps:,}", *map(str, counts), end_section=name == names[-1])
    rates = Table(title="False alarms, with the exact interval at 95%", title_justify="left")
    for column in ("test", *SERIES, "steps", "per 1,000 steps", "interval", "runs with one", "µs a value"):
        rates.add_column(column, justify="left" if column == "test" else "right")
    steps = sum(one.steps for one in runs)
    for test, kind in TESTS.items():
        count = sum(one.either[test] for one in runs)
        low, high = clopper_pearson(count, steps)
        rates.add_row(
            test,
            *(str(sum(one.found[test, series] for one in runs)) for series in SERIES),
            str(count),
            f"{1000 * count / steps:.3f}",
            f"{1000 * low:.3f} to {1000 * high:.3f}",
            f"{sum(one.either[test] > 0 for one in runs)} of {len(runs)}",
            f"{microseconds(kind):.1f}",
        )
    return [rates, table]


def main() -> None:
    """Run the arms, and print or save the tables."""
    parser = argparse.ArgumentParser(description="Count the false alarms of spikes in good arms of the zoo.")
    parser.add_argument("--tasks", nargs="*", default=(), help="names of tasks (default: all)")
    parser.add_argument("--arms", type=int, default=2, help="number of good arms of each task (default: 2)")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of each arm (default: 1)")
    parser.add_argument("--save", metavar="NAME", help="name of a file in benchmarks/results")
    options = parser.parse_args()
    machine = description()
    torch.set_num_threads(1)
    runs = []
    for task in tasks().values():
        if options.tasks and task.name not in options.tasks:
            continue
        good = [arm for arm in task.arms if not arm.fails and not arm.border][: options.arms]
        for arm in good:
            for seed in range(options.seeds):
                runs.append(run(task, arm.settings, seed))
                print(f"{task.name}/{arm.name} seed {seed}: {runs[-1].either}", flush=True)
    command = f"python benchmarks/spikes.py --arms {options.arms} --seeds {options.seeds}"
    command += f" --tasks {' '.join(options.tasks)}" if options.tasks else ""
    command += f" --save {options.save}" if options.save else ""
    present("How often a healthy training has a spike", command, machine, tables(runs), save=options.save)


if __name__ == "__main__":
    main()
