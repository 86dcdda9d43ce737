"""A case of the zoo continues from a checkpoint as if it had not ended, and its parameters have an effect."""

from __future__ import annotations

import copy

import pytest
import torch

from benchmarks.zoo.catalogue import tasks
from benchmarks.zoo.repaired import READS, build, load, parameters, state_of
from benchmarks.zoo.task import Arm, Task, Training

SMALL = sorted(set(READS) - {"lora", "postnorm_transformer"})
"""All tasks but two that take seconds to build."""
ROLLOUT = "separate_actor_critic"
"""It keeps a rollout for eight steps, which is not in a checkpoint."""


def good(task: Task) -> Arm:
    return next(arm for arm in task.arms if not arm.fails)


def weights(training: Training) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().float() for parameter in training.model.parameters()])


def trained(task: Task, given: dict[str, float], steps: int) -> Training:
    training = build(task, good(task), 1, given)
    for step in range(steps):
        training.step(step)
    return training


def test_the_parameters_of_each_task_are_known() -> None:
    assert READS.keys() == tasks().keys()


@pytest.mark.parametrize("name", [name for name in SMALL if name != ROLLOUT])
def test_a_training_continues_from_its_state_as_if_it_had_not_ended(name: str) -> None:
    task = tasks()[name]
    steps = 130 if name == "unfreezing" else 6  # one layer is unfrozen at step 120
    own = parameters(task, good(task))
    whole = trained(task, own, steps)
    state = copy.deepcopy(state_of(whole))
    resumed = build(task, good(task), 1, own)
    load(resumed, state, steps)
    for step in range(steps, steps + 3):
        whole.step(step)
        resumed.step(step)
    assert torch.equal(weights(whole), weights(resumed))


@pytest.mark.parametrize("name", SMALL)
def test_each_parameter_changes_the_training(name: str) -> None:
    task = tasks()[name]
    own = parameters(task, good(task))
    plain = weights(trained(task, own, 2))
    assert torch.equal(plain, weights(trained(task, {}, 2)))
    for parameter, value in own.items():
        other = 1e-3 if parameter == "clip" else value / 2 + 0.11
        assert not torch.equal(plain, weights(trained(task, {**own, parameter: other}, 2))), parameter


def test_a_changed_learning_rate_holds_after_a_state_was_loaded() -> None:
    task = tasks()["wide_mlp"]
    own = parameters(task, good(task))
    state = state_of(trained(task, own, 5))
    resumed = build(task, good(task), 1, {**own, "lr": 1e-5})
    load(resumed, state, 5)
    resumed.step(5)
    assert [group["lr"] for group in resumed.optimizers[0].param_groups] == [1e-5]
