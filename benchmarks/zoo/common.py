"""What the tasks share: the digits, optimizers, learning rate schedules, and the training of a classifier."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.task import Logged, Settings, Training

TEST_SIZE = 500


@dataclass(frozen=True)
class Split:
    """Inputs and targets for training and for the test."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


@functools.cache
def digits() -> Split:
    """Return scikit-learn's digits, standardised with one mean and one deviation; inputs are N x 64."""
    bunch: Any = load_digits()
    x = torch.tensor(bunch.data, dtype=torch.float32)
    y = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = (x[order] - x.mean()) / x.std(), y[order]
    return Split(x[TEST_SIZE:], y[TEST_SIZE:], x[:TEST_SIZE], y[:TEST_SIZE])


def generator(seed: int) -> torch.Generator:
    """Seed torch's global generator, and return another one for the data."""
    torch.manual_seed(seed + 1000)
    return torch.Generator().manual_seed(seed)


# ---- optimizers and schedules ----------------------------------------------------------------------------------------


def optimizer_of(settings: Settings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that `optimizer`, `lr` and `weight_decay` name."""
    lr, decay = float(settings["lr"]), float(settings.get("weight_decay", 0.0))
    match settings.get("optimizer", "adam"):
        case "sgd":
            return torch.optim.SGD(parameters, lr=lr, weight_decay=decay)
        case "momentum":
            return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr=lr, weight_decay=decay)
        case "adagrad":
            return torch.optim.Adagrad(parameters, lr=lr, weight_decay=decay)
        case other:
            raise ValueError(f"unknown optimizer {other}")


def factor(settings: Settings, i: int, steps: int) -> float:
    """Return what the learning rate of step `i` is multiplied by.

    Raises:
        ValueError: the schedule is unknown.
    """
    warmup = float(settings.get("warmup", 0.0)) * steps
    match settings.get("schedule", "constant"):
        case "constant":
            return min(1.0, (i + 1) / warmup) if warmup else 1.0
        case "linear":  # a warmup, then down to zero
            return (i + 1) / warmup if i < warmup else (steps - i) / (steps - warmup)
        case "cosine":
            return (i + 1) / warmup if i < warmup else _cosine((i - warmup) / (steps - warmup))
        case "restarts":  # a cosine several times; each restart is `gain` times as high as the one before
            length = steps / int(settings.get("periods", 4))
            gain: float = float(settings.get("gain", 1.0)) ** int(i // length)
            return gain * _cosine(i % length / length)
        case "jump":  # constant, then another constant, as after a wrong milestone
            return 1.0 if i < float(settings["jump_at"]) * steps else float(settings["jump_to"])
        case other:
            raise ValueError(f"unknown schedule {other}")


def _cosine(position: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * position))


def set_rate(optimizer: torch.optim.Optimizer, settings: Settings, i: int, steps: int) -> None:
    """Set the learning rate of step `i`."""
    for group in optimizer.param_groups:
        group["lr"] = float(group.setdefault("base_lr", group["lr"])) * factor(settings, i, steps)


def peak_of(settings: Settings, steps: int) -> float:
    """Return the highest learning rate of the schedule."""
    return float(settings["lr"]) * max(factor(settings, i, steps) for i in range(steps))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, parameters: Iterable[nn.Parameter], clip: float) -> None:
    """Do one step down the loss, with the gradient clipped to the norm `clip` if that is above zero."""
    optimizer.zero_grad()
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()


# ---- layers ----------------------------------------------------------------------------------------------------------


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call the function."""
        return self.function(x)


def activation_of(settings: Settings) -> nn.Module:
    """Return the activation that `activation` names."""
    known: Mapping[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "leaky": nn.LeakyReLU,
        "elu": nn.ELU,
    }
    return known[settings.get("activation", "relu")]()


def initialise(model: nn.Module, settings: Settings) -> None:
    """Fill the weights by `init` (torch, he, zeros or a standard deviation) and the biases by `bias`."""
    spec, bias = settings.get("init", "torch"), settings.get("bias")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and spec == "he":
                nn.init.kaiming_normal_(parameter)
            elif parameter.dim() > 1 and spec == "zeros":
                parameter.zero_()
            elif parameter.dim() > 1 and spec != "torch":
                parameter.normal_(0, float(spec))
            elif name.endswith("bias") and bias is not None:
                parameter.fill_(float(bias))


def mlp(sizes: Sequence[int], settings: Settings) -> nn.Sequential:
    """Return linear layers of these sizes with activations between them, initialised by the settings."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation_of(settings)]
    model = nn.Sequential(*layers[:-1])
    initialise(model, settings)
    return model


# ---- supervised training ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """What a script calls its metrics."""

    loss: str = "loss/train"
    test_loss: str = "loss/test"
    accuracy: str = "accuracy/test"


def draw(split: Split, settings: Settings, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a batch.

    With `labels: shuffled` each batch has its labels in another order; with `labels: permuted` each sample always has
    the label of the same other sample, so that the training set can only be memorised.
    """
    chosen = torch.randint(0, int(settings.get("train_size", len(split.x))), (int(settings.get("batch", 64)),),
                           generator=random)  # fmt: skip
    x, y = split.x[chosen], split.y[chosen]
    if settings.get("labels") == "shuffled":
        y = y[torch.randperm(len(y), generator=random)]
    if settings.get("labels") == "permuted":
        y = split.y[chosen - 1]
    return x, y


def accuracy_and_loss(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the accuracy and the cross entropy of a classifier; outputs that are not finite are never right."""
    with torch.no_grad():
        output = model(x)
        right = (output.argmax(-1) == y) & output.isfinite().all(-1)
        return float(right.float().mean()), float(functional.cross_entropy(output, y))


def classifier(  # noqa: PLR0913 - each is a part of a classifier
    model: nn.Module,
    split: Split,
    settings: Settings,
    *,
    steps: int,
    random: torch.Generator,
    names: Names | None = None,
    auxiliary: Callable[[], tuple[str, float, Tensor]] | None = None,
    trained: Sequence[nn.Parameter] | None = None,
) -> Training:
    """Return the training of a classifier by cross entropy.

    Args:
        model: maps inputs to logits.
        split: the data.
        settings: those of `optimizer_of`, `factor` and `draw`, and `clip`.
        steps: the length of the schedule.
        random: draws the batches.
        names: what the script calls its metrics.
        auxiliary: returns the name, the weight and the value of a further term after each forward pass.
        trained: what the optimizer is given, if that is not all of the model.
    """
    known = names or Names()
    parameters = [*model.parameters()] if trained is None else [*trained]
    optimizer = optimizer_of(settings, parameters)
    clip = float(settings.get("clip", 0.0))

    def step(i: int) -> Logged:
        model.train()
        set_rate(optimizer, settings, i, steps)
        x, y = draw(split, settings, random)
        loss = functional.cross_entropy(model(x), y)
        logged = {known.loss: loss.detach()}
        if auxiliary is not None:
            name, weight, value = auxiliary()
            logged[name] = value.detach()
            loss = loss + weight * value
        descend(optimizer, loss, parameters, clip)
        return logged

    def evaluate() -> Mapping[str, float]:
        model.eval()
        accuracy, loss = accuracy_and_loss(model, split.x_test, split.y_test)
        return {"score/test": accuracy, known.accuracy: accuracy, known.test_loss: loss}

    return Training(model, [optimizer], step, evaluate, peak_of(settings, steps))
