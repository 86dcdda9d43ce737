"""Run arms in a plain loop, without sweeper, and print their scores: `python -m benchmarks.zoo.check tasks_a`.

An arm that was made to fail should score below half of the good arms' median gain, a good one above 0.8 of it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence

import torch

from benchmarks.zoo.catalogue import tasks
from benchmarks.zoo.task import SCORE, Arm, Task


def run(task: Task, arm: Arm, seed: int) -> tuple[float, float]:
    """Return the last score of a run and the seconds that it took."""
    start = time.process_time()
    training = task.build(arm.settings, seed)
    for i in range(task.steps):
        training.step(i)
        if i % task.evaluate_every == 0:
            training.evaluate()
    score = float(training.evaluate()[SCORE])
    return (score if math.isfinite(score) else task.baseline), time.process_time() - start


def check(task: Task, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
    """Print each arm's scores, the range of its gains relative to the good arms' median gain, and its seconds."""
    runs = {arm.name: [run(task, arm, seed) for seed in seeds] for arm in arms}
    good = [s - task.baseline for a in arms if not a.fails and not a.border for s, _ in runs[a.name]]
    reference = statistics.median(good) if good else math.nan
    for arm in arms:
        scores = [score for score, _ in runs[arm.name]]
        gains = [(score - task.baseline) / reference for score in scores]
        wrong = not arm.border and (max(gains) >= 0.5 if arm.fails else min(gains) < 0.8)
        kind = "border" if arm.border else "fails" if arm.fails else "good"
        shown = " ".join(f"{score:.3f}" for score in scores)
        seconds = max(seconds for _, seconds in runs[arm.name])
        print(
            f"{task.name + '/' + arm.name:42} {kind:7} {shown}  gain {min(gains):5.2f}..{max(gains):5.2f}"
            f"  {seconds:4.1f}s{'  WRONG' if wrong else ''}",
            flush=True,
        )


def main() -> None:
    """Check the arms that the command line names."""
    parser = argparse.ArgumentParser(description="Run arms in a plain loop and print their scores")
    parser.add_argument("modules", nargs="*", help="modules of tasks (default: all)")
    parser.add_argument("--tasks", nargs="+", help="names of tasks (default: all)")
    parser.add_argument("--arms", nargs="+", help="names of arms (default: all)")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds (default: 2)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for task in tasks(asked.modules).values():
        if asked.tasks is None or task.name in asked.tasks:
            arms = [arm for arm in task.arms if asked.arms is None or arm.name in asked.arms]
            check(task, arms, range(asked.seeds))


if __name__ == "__main__":
    main()
