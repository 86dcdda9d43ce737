"""Run one case of the zoo under sweeper's trial API; `record.py` runs all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import sklearn.datasets  # noqa: F401 - a preloaded launch imports before the fork only what this file names
import torch
import torch._dynamo  # the first optimizer imports it, which takes a second

import sweeper
from benchmarks.zoo.catalogue import case

if TYPE_CHECKING:
    from sweeper import Trial

DEFAULT = "deep_mlp/adam"
EVERY = 10
"""Optimizer steps between two observations of gradients and updates."""


def train(trial: Trial) -> None:
    """Train the case that the parameter `case` names (`task/arm`); ends early only if the trial is asked to stop."""
    torch.set_num_threads(1)
    task, arm = case(trial.params.get("case", DEFAULT))
    np.random.seed(trial.seed)  # noqa: NPY002 - for libraries that draw from the global generator
    training = task.build(arm.settings, trial.seed)
    trial.plan(total_steps=task.steps, peak_lr=training.peak_lr)
    trial.watch(training.model, training.optimizers, every=EVERY)
    for i in range(task.steps):
        logged = training.step(i)
        last = i == task.steps - 1
        if i % task.report_every == 0 or last:
            trial.report(logged, step=i)
        if i % task.evaluate_every == 0 or last:
            trial.report(training.evaluate(), step=i)
        if trial.should_stop:
            break


def main() -> None:
    """Train one case without a sweep."""
    with sweeper.trial(defaults={"case": DEFAULT}) as trial:
        train(trial)


if __name__ == "__main__":
    main()
