"""Regression at a noise floor, sparse parity with a long plateau, and a small regression by LBFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.common import Call, Split, descend, draw, generator, mlp, optimizer_of, peak_of, set_rate
from benchmarks.zoo.task import Arm, Logged, Settings, Task, Training


def explained(model: Callable[[Tensor], Tensor], split: Split) -> tuple[float, float]:
    """Return the share of the test targets' variance that a model explains (R2), and its squared error."""
    with torch.no_grad():
        error = float(functional.mse_loss(model(split.x_test), split.y_test))
    return 1 - error / float(split.y_test.var()), error


# ---- a noise floor ---------------------------------------------------------------------------------------------------

NOISE_STEPS = 500
INPUTS = 16
KNOWN = 0.3
"""The share of the variance that can be known from the inputs."""


def noisy(scale: float) -> Split:
    """Return a linear target of variance one, of which only a share can be known."""
    data = torch.Generator().manual_seed(5)
    x = torch.randn(6000, INPUTS, generator=data)
    weights = torch.randn(INPUTS, 1, generator=data)
    y = KNOWN**0.5 * x @ weights / weights.norm() + (1 - KNOWN) ** 0.5 * torch.randn(6000, 1, generator=data)
    return Split(scale * x[1000:], y[1000:], scale * x[:1000], y[:1000])


def noise_floor(settings: Settings, seed: int) -> Training:
    """Most of the loss is noise: it falls by less than a third, early, and then stays."""
    random = generator(seed)
    chosen = {"optimizer": "sgd", "lr": 0.05, "batch": 128, **settings}
    split = noisy(float(chosen.get("input_scale", 1.0)))
    hidden = chosen.get("hidden")
    model = mlp([INPUTS, 1] if hidden is None else [INPUTS, hidden, hidden, 1], chosen)
    if chosen.get("relu_output"):
        nn.init.constant_([*model.parameters()][-1], -5.0)
        model.append(nn.ReLU())
    if chosen.get("detached"):
        model.append(Call(lambda x: x.detach().requires_grad_()))
    parameters = [*model.parameters()]
    optimizer = optimizer_of(chosen, parameters)

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, NOISE_STEPS)
        x, y = draw(split, chosen, random)
        loss = functional.mse_loss(model(x), y)
        descend(optimizer, loss, parameters, float(chosen.get("clip", 0.0)))
        return {"train/mse": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        score, error = explained(model, split)
        return {"score/test": score, "val/mse": error, "val/r2": score}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, NOISE_STEPS))


NOISE_FLOOR = Task(
    name="noise_floor",
    steps=NOISE_STEPS,
    baseline=0.0,
    build=noise_floor,
    arms=[
        Arm("sgd", {}, fails=False),
        Arm("adam", {"optimizer": "adam", "lr": 0.01}, fails=False),
        Arm("mlp_cosine", {"optimizer": "momentum", "lr": 0.01, "hidden": 16, "schedule": "cosine"}, fails=False),
        Arm("sgd_large_batch", {"batch": 512, "lr": 0.02}, fails=False),
        Arm("inputs_unscaled", {"input_scale": 1e3}, fails=True, expected=("non_finite", "diverged", "input_scale")),
        Arm("relu_output_dead", {"relu_output": True, "hidden": 16}, fails=True,
            expected=("dead_units", "no_gradient", "stuck")),
        Arm("lr_1e-9", {"lr": 1e-9}, fails=True, expected=("frozen", "stuck")),
        Arm("detached", {"detached": True, "hidden": 16}, fails=True, expected=("no_gradient", "frozen", "stuck")),
        Arm("lr_slightly_too_high", {"lr": 1.3, "batch": 32}, fails=True,
            expected=("diverged", "oscillating", "non_finite")),
    ],
)  # fmt: skip


# ---- sparse parity ---------------------------------------------------------------------------------------------------

PARITY_STEPS = 600
BITS, RELEVANT = 20, 3


def parity(settings: Settings, seed: int) -> Training:
    """The parity of three of twenty bits: accuracy stays at chance for long, and then rises within some steps."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 1.5e-3, "batch": 128, "width": 128, **settings}
    bits = 2 * torch.randint(0, 2, (13000, BITS), generator=torch.Generator().manual_seed(3)).float() - 1
    label = (bits[:, :RELEVANT].prod(1, keepdim=True) + 1) / 2
    split = Split(bits[1000:], label[1000:], bits[:1000], label[:1000])
    model = mlp([BITS, int(chosen["width"]), 1], chosen)
    parameters = [*model.parameters()]
    optimizer = optimizer_of(chosen, parameters)

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, PARITY_STEPS)
        x, y = draw(split, chosen, random)
        loss = functional.binary_cross_entropy_with_logits(model(x), y)
        descend(optimizer, loss, parameters, float(chosen.get("clip", 0.0)))
        return {"loss": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        with torch.no_grad():
            output = model(split.x_test)
        right = ((output > 0).float() == split.y_test) & output.isfinite()
        accuracy = float(right.float().mean())
        loss = float(functional.binary_cross_entropy_with_logits(output, split.y_test))
        return {"score/test": accuracy, "accuracy/test": accuracy, "loss/test": loss}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, PARITY_STEPS))


PARITY = Task(
    name="parity_plateau",
    steps=PARITY_STEPS,
    baseline=0.5,
    build=parity,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum", {"optimizer": "momentum", "lr": 0.05}, fails=False),
        Arm("adamw_wide", {"optimizer": "adamw", "lr": 1.5e-3, "width": 256, "weight_decay": 0.1}, fails=False),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("width_1", {"width": 1}, fails=True, expected=("stuck",)),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "overfitting")),
        Arm("lr_hundredth", {"lr": 1.5e-5}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_high", {"optimizer": "momentum", "lr": 300.0}, fails=True,
            expected=("diverged", "dead_units", "oscillating")),
    ],
)  # fmt: skip


# ---- LBFGS -----------------------------------------------------------------------------------------------------------

LBFGS_STEPS = 80


def lbfgs(settings: Settings, seed: int) -> Training:
    """Full-batch regression by LBFGS, which evaluates a closure several times at each step."""
    generator(seed)
    chosen: dict[str, Any] = {"lr": 0.3, "inner": 4, "hidden": 16, "activation": "tanh", **settings}
    data = torch.Generator().manual_seed(9)
    x = torch.rand(500, 4, generator=data) * 2 - 1
    y = torch.sin(math.pi * x[:, 0] * x[:, 1]) + 2 * x[:, 2] ** 2 + x[:, 3] + 0.1 * torch.randn(500, generator=data)
    y = ((y - y.mean()) / y.std())[:, None] * float(chosen.get("target_scale", 1.0))
    split = Split(x[200:], y[200:], x[:200], y[:200])
    model = mlp([4, int(chosen["hidden"]), int(chosen["hidden"]), 1], chosen)
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        lr=float(chosen["lr"]),
        max_iter=int(chosen["inner"]),
        history_size=int(chosen.get("history", 10)),
        line_search_fn=chosen.get("line_search"),
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(split.x), split.y)
        loss = loss + float(chosen.get("ridge", 0.0)) * sum(p.pow(2).sum() for p in model.parameters())
        loss.backward()
        return loss

    def step(_: int) -> Logged:
        return {"loss": optimizer.step(closure).detach()}

    def evaluate() -> Mapping[str, float]:
        score, error = explained(model, split)
        return {"score/test": score, "mse/test": error}

    return Training(model, [optimizer], step, evaluate, float(chosen["lr"]))


LBFGS = Task(
    name="lbfgs",
    steps=LBFGS_STEPS,
    baseline=0.0,
    build=lbfgs,
    evaluate_every=10,
    arms=[
        Arm("fixed_rate", {}, fails=False),
        Arm("line_search", {"lr": 1.0, "line_search": "strong_wolfe", "ridge": 1e-4}, fails=False),
        Arm("wide_ridge", {"hidden": 32, "lr": 0.2, "ridge": 1e-4}, fails=False),
        Arm("lr_high", {"lr": 50.0}, fails=True, expected=("diverged", "non_finite", "saturated")),
        Arm("target_unscaled", {"target_scale": 1e6, "lr": 1.0}, fails=True,
            expected=("diverged", "loss_mismatch", "stuck")),
        Arm("lr_1e-9", {"lr": 1e-9}, fails=True, expected=("frozen", "stuck")),
        Arm("zero_init", {"init": "zeros", "bias": 0.0}, fails=True, expected=("no_gradient", "stuck")),
        Arm("saturated_init", {"init": 30.0}, fails=True, expected=("saturated", "overfitting", "stuck")),
        Arm("ridge_drowns_the_loss", {"ridge": 10.0}, fails=True, expected=("over_regularised", "collapsed", "stuck")),
    ],
)  # fmt: skip

TASKS = (NOISE_FLOOR, PARITY, LBFGS)
