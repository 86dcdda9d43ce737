"""The learning rate of each step of a derived trial is that of its parent times the factor."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from sweeper.record.derivation import Derivation
from sweeper.worker.derived_state import change, changed, is_needed, is_pointer

STEPS, AT, FACTOR, LR = 20, 7, 0.3, 0.4

Make = Callable[[Optimizer, float], Any]

SCHEDULERS: dict[str, Make] = {
    "LambdaLR": lambda o, _: LambdaLR(o, lambda step: min(1.0, (step + 1) / 10)),
    "CosineAnnealingLR": lambda o, lr: CosineAnnealingLR(o, STEPS, eta_min=lr / 10),
    "CosineAnnealingWarmRestarts": lambda o, lr: CosineAnnealingWarmRestarts(o, 6, eta_min=lr / 10),
    "OneCycleLR": lambda o, lr: OneCycleLR(o, lr, total_steps=STEPS + 1),
    "CyclicLR": lambda o, lr: CyclicLR(o, lr / 10, lr, step_size_up=5, cycle_momentum=False),
    "StepLR": lambda o, _: StepLR(o, 5),
    "ExponentialLR": lambda o, _: ExponentialLR(o, 0.9),
    "SequentialLR": lambda o, _: SequentialLR(o, [LinearLR(o, 0.1, 1, 10), CosineAnnealingLR(o, 10)], [10]),
    "ChainedScheduler": lambda o, _: ChainedScheduler([LinearLR(o, 0.1, 1, 10), ExponentialLR(o, 0.9)]),
    "ReduceLROnPlateau": lambda o, lr: ReduceLROnPlateau(o, factor=0.5, patience=1, min_lr=lr / 5),
}

OPTIMIZERS: dict[str, Callable[[Any, float], Optimizer]] = {
    "AdamW": lambda params, lr: AdamW(params, lr=lr),
    "SGD": lambda params, lr: SGD(params, lr=lr, momentum=0.9),
}


class Training:
    """A model of one weight that is trained step by step; the loss is constant, so that plateaus are found."""

    def __init__(self, optimizer: str, scheduler: str, lr: float) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters(), lr)
        self.scheduler = SCHEDULERS[scheduler](self.optimizer, lr)

    def rates(self, steps: int) -> list[float]:
        """Train; return the learning rate of each step as the optimizer uses it."""
        used = []
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(torch.ones(1, 2)).sum().backward()
            used.append(float(self.optimizer.param_groups[0]["lr"]))
            self.optimizer.step()
            self.scheduler.step(*([1.0] if isinstance(self.scheduler, ReduceLROnPlateau) else []))
        return used

    def state(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return {"step": AT - 1, "parts": {name: part.state_dict() for name, part in parts.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        for name, part in state["parts"].items():
            getattr(self, name).load_state_dict(part)


def stored(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def derivation(**given: Any) -> Derivation:
    return Derivation(parent=3, step=AT - 1, checkpoint="step-000000006.0123456789abcdef.pt", **given)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_each_following_step_has_the_parents_rate_times_the_factor(optimizer: str, scheduler: str) -> None:
    parent = Training(optimizer, scheduler, LR)
    parent.rates(AT)
    state = stored(parent.state())
    later = parent.rates(STEPS - AT)
    child = Training(optimizer, scheduler, LR * FACTOR)  # as the script of the derived trial makes it
    new, found = changed(state, derivation(lr_factor=FACTOR))
    child.restore(new)
    assert found
    assert child.rates(STEPS - AT) == pytest.approx([rate * FACTOR for rate in later], rel=1e-6)
    assert child.scheduler.get_last_lr() == pytest.approx([rate * FACTOR for rate in parent.scheduler.get_last_lr()])
    in_place = Training(optimizer, scheduler, LR * FACTOR)
    in_place.restore(state)  # as a library does it
    change([in_place.optimizer], [in_place.scheduler], derivation(lr_factor=FACTOR))
    assert in_place.rates(STEPS - AT) == pytest.approx([rate * FACTOR for rate in later], rel=1e-6)


def test_the_momentum_of_a_cycle_is_left_to_it() -> None:
    def momenta(training: Training) -> list[float]:
        return [training.optimizer.param_groups[0]["momentum"] for _ in range(5) if training.rates(1)]

    parent = Training("SGD", "OneCycleLR", LR)
    parent.rates(AT)
    state = stored(parent.state())
    child = Training("SGD", "OneCycleLR", LR)
    child.restore(changed(state, derivation(lr_factor=FACTOR, changes={"momentum": 0.5}))[0])
    assert momenta(child) == pytest.approx(momenta(parent))


def test_a_fresh_optimizer_has_no_moments_and_the_same_weights() -> None:
    parent = Training("AdamW", "LambdaLR", LR)
    parent.rates(AT)
    state = stored(parent.state())
    new, found = changed(state, derivation(fresh_optimizer=True))
    assert found
    child = Training("AdamW", "LambdaLR", LR)
    child.restore(new)
    assert not child.optimizer.state
    assert torch.equal(child.model.weight, parent.model.weight)
    assert state["parts"]["optimizer"]["state"]  # what was read is not changed
    kept = Training("AdamW", "LambdaLR", LR)
    kept.restore(state)
    change([kept.optimizer], [kept.scheduler], derivation(fresh_optimizer=True))
    assert not kept.optimizer.state
    child.rates(1)
    assert float(child.optimizer.state[child.model.weight]["step"]) == 1.0


def test_the_weight_decay_is_changed_where_the_parent_had_some() -> None:
    model = nn.Linear(2, 1)
    groups = [{"params": [model.weight], "weight_decay": 0.1}, {"params": [model.bias], "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=LR)
    derived = derivation(changes={"optimizer.weight-decay": 0.3, "adam_beta2": 0.95, "lr": 0.4})
    new, _ = changed({"optimizer": optimizer.state_dict()}, derived)
    assert [group["weight_decay"] for group in new["optimizer"]["param_groups"]] == [0.3, 0.0]
    assert [group["betas"] for group in new["optimizer"]["param_groups"]] == [(0.9, 0.95)] * 2
    change([optimizer], [], derived)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert optimizer.param_groups[0]["lr"] == LR
    none = AdamW(model.parameters(), lr=LR, weight_decay=0.0)
    change([none], [], derived)
    assert none.param_groups[0]["weight_decay"] == 0.3


def test_a_state_without_an_optimizer_is_left_as_it_is() -> None:
    state = {"step": 3, "weights": {"lr": torch.ones(2), "layers": [{"a": 1}]}}
    assert changed(state, derivation(lr_factor=FACTOR)) == (state, False)
    assert not is_needed(derivation(changes={"lr": 0.1}))
    assert changed(state, derivation()) == (state, False)


@pytest.mark.parametrize(
    "state",
    [
        {"param_groups": [1, 2], "state": {}},
        {"param_groups": [{"lr": "high", "betas": "x"}], "state": {}},
        {"base_lrs": "high", "_last_lr": [None, "x"]},
        {"a": {"param_groups": None, "state": None, "min_lrs": {}}},
    ],
)
def test_what_only_looks_like_an_optimizer_does_no_harm(state: dict[str, Any]) -> None:
    derived = derivation(lr_factor=FACTOR, changes={"momentum": 0.1, "beta1": 0.5})
    assert changed(state, derived)[0] == state


def test_only_a_text_alone_is_a_pointer() -> None:
    assert is_pointer({"checkpoint": "trainer/checkpoint-5"})
    assert not is_pointer({"checkpoint": {"model": 1}})
    assert not is_pointer({"checkpoint": "x", "step": 5})
