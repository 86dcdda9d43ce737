"""Run one case of the zoo with parameters of a sweep and with checkpoints, so that it can be repaired.

The parameters are those that the task reads (`parameters`). A run continues from a checkpoint as a user's script does:
it is built with the parameters of the trial, then weights, moments, generators and simulators are loaded, and the
learning rate follows from the parameters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.datasets  # noqa: F401 - a preloaded launch imports before the fork only what this file names
import torch
import torch._dynamo  # the first optimizer imports it, which takes a second
from torch import nn

from benchmarks.zoo.catalogue import case
from benchmarks.zoo.games import Poles
from benchmarks.zoo.networks_b import CartPoles
from benchmarks.zoo.task import Arm, Task, Training

if TYPE_CHECKING:
    from sweeper import Trial

EVERY = 10
"""Optimizer steps between two observations of gradients and updates."""
STEP_S = 0.02
"""The least time of a step. A step of a real training is longer than an orchestrator needs to read an observation."""

CLIPPED: Mapping[str, float] = {"warmup": 0.0, "clip": 0.0, "weight_decay": 0.0}
UNCLIPPED: Mapping[str, float] = {"warmup": 0.0, "weight_decay": 0.0}
READS: Mapping[str, Mapping[str, float]] = {
    "deep_mlp": {"lr": 1e-3, **CLIPPED},
    "bn_cnn": {"lr": 2e-3, **CLIPPED},
    "lstm_rows": {"lr": 5e-3, **CLIPPED},
    "postnorm_transformer": {"lr": 2e-3, **CLIPPED, "warmup": 0.5},
    "vit": {"lr": 3e-3, **CLIPPED, "weight_decay": 0.05},
    "mixture_of_experts": {"lr": 2e-3, **CLIPPED},
    "lora": {"lr": 5e-3, **CLIPPED},
    "warm_restarts": {"lr": 0.1, **CLIPPED},
    "gan": {"g_lr": 1e-3, "d_lr": 1e-3, "warmup": 0.0},
    "separate_actor_critic": {"lr": 2e-3, **CLIPPED, "clip": 0.5},
    "simclr": {"lr": 2e-3, **UNCLIPPED},
    "simsiam": {"lr": 2e-3, **UNCLIPPED},
    "noise_floor": {"lr": 0.05, **CLIPPED},
    "parity_plateau": {"lr": 1.5e-3, **CLIPPED},
    "lbfgs": {"lr": 0.3},
    "wide_mlp": {"lr": 1e-3, **CLIPPED},
    "narrow_mlp": {"lr": 1e-2, **UNCLIPPED},
    "plain_cnn": {"lr": 5e-3, **UNCLIPPED},
    "residual_cnn": {"lr": 5e-3, **UNCLIPPED},
    "vanilla_rnn": {"lr": 2e-3, **CLIPPED, "clip": 1.0},
    "masked_prenorm": {"lr": 3e-3, **CLIPPED},
    "character_gpt": {"lr": 5e-3, **CLIPPED},
    "vae": {"lr": 3e-3, **CLIPPED},
    "wgan_gp": {"lr": 2e-3, "critic_lr": 2e-3, "warmup": 0.0},
    "actor_critic": {"lr": 3e-3, **CLIPPED, "clip": 0.5},
    "distillation": {"lr": 5e-3, **UNCLIPPED},
    "linear_probe": {"lr": 0.03, **UNCLIPPED},
    "unfreezing": {"lr": 3e-3, **CLIPPED},
    "memorising": {"lr": 3e-3, **CLIPPED},
    "accumulation": {"lr": 0.1, **UNCLIPPED},
    "bfloat16_mlp": {"lr": 3e-3, **CLIPPED},
    "long_warmup": {"lr": 0.3, "share": 0.7, "clip": 0.0, "weight_decay": 0.0},
}
"""The numbers of an optimizer or a schedule that each task reads, with its defaults."""
WITH_WARMUP = ("constant", "linear", "cosine")
"""The schedules that read `warmup`."""


def parameters(task: Task, arm: Arm) -> dict[str, float]:
    """Return the parameters of an arm that a sweep may change, with the arm's values."""
    found = {name: float(arm.settings.get(name, default)) for name, default in READS[task.name].items()}
    if arm.settings.get("schedule", WITH_WARMUP[0]) not in WITH_WARMUP or (
        task.name == "warm_restarts" and "schedule" not in arm.settings
    ):
        found.pop("warmup", None)
    return found


def build(task: Task, arm: Arm, seed: int, given: Mapping[str, object]) -> Training:
    """Return the training of an arm with the parameters of a trial."""
    known = {name: value for name, value in given.items() if name in READS[task.name]}
    return task.build({**arm.settings, **known}, seed)


# ---- checkpoints -----------------------------------------------------------------------------------------------------


def parts(training: Training) -> Sequence[object]:
    """Return what a step reads and changes, in a fixed order: modules, optimizers, generators and simulators."""
    found: list[object] = []
    seen: set[int] = set()
    todo: list[object] = [training.step, training.evaluate]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module | torch.optim.Optimizer | torch.Generator | Poles | CartPoles):
            found.append(one)
        elif isinstance(one, FunctionType):
            todo += [cell.cell_contents for cell in one.__closure__ or ()]
    return found


def state_of(training: Training) -> dict[str, Any]:
    """Return the state of a training for a checkpoint."""
    return {"random": torch.get_rng_state(), "parts": [_state(part) for part in parts(training)]}


def _state(part: object) -> Any:  # noqa: ANN401 - as each library has it
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, Poles | CartPoles):
        return {name: value for name, value in vars(part).items() if isinstance(value, torch.Tensor | list)}
    return part.state_dict()  # type: ignore[attr-defined]  # of a module or an optimizer


def load(training: Training, state: Mapping[str, Any], first_step: int) -> None:
    """Load a state into a training that continues at `first_step`."""
    if training.resume is not None:
        training.resume(first_step)
    torch.set_rng_state(state["random"])
    for part, saved in zip(parts(training), state["parts"], strict=True):
        if isinstance(part, torch.Generator):
            part.set_state(saved)
        elif isinstance(part, Poles | CartPoles):
            vars(part).update(saved)
        elif isinstance(part, torch.optim.Optimizer):
            rates = [group["lr"] for group in part.param_groups]
            part.load_state_dict(saved)
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate  # the schedule is computed from the parameters, as many scripts do
                group.pop("base_lr", None)
        else:
            part.load_state_dict(saved)  # type: ignore[attr-defined]  # of a module


# ---- the training ----------------------------------------------------------------------------------------------------


def train(trial: Trial) -> None:
    """Train the case that the parameter `case` names (`task/arm`), from the newest checkpoint if there is one."""
    torch.set_num_threads(1)
    task, arm = case(str(trial.params["case"]))
    np.random.seed(trial.seed)  # noqa: NPY002 - for libraries that draw from the global generator
    training = build(task, arm, trial.seed, trial.params)
    trial.plan(total_steps=task.steps, peak_lr=training.peak_lr)
    trial.watch(training.model, training.optimizers, every=EVERY)
    state = trial.restore()
    if state is not None:
        load(training, state, trial.next_step)
    for i in range(trial.next_step, task.steps):
        begun = time.monotonic()
        logged = training.step(i)
        last = i == task.steps - 1
        if i % task.report_every == 0 or last:
            trial.report(logged, step=i)
        if i % task.evaluate_every == 0 or last:
            trial.report(training.evaluate(), step=i)
        if trial.should_save:
            trial.save(state_of(training), step=i)
        if trial.should_stop:
            break
        time.sleep(max(0.0, begun + STEP_S - time.monotonic()))
