"""Classifiers: deep MLP, normalised CNN, LSTM, post-norm transformer, ViT, mixture of experts, LoRA, warm restarts."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.common import (
    Call,
    Names,
    Split,
    activation_of,
    classifier,
    digits,
    generator,
    initialise,
    mlp,
)
from benchmarks.zoo.task import Arm, Settings, Task, Training

CHANCE = 0.11
"""The accuracy on digits of a classifier that always names one class."""


# ---- a deep MLP ------------------------------------------------------------------------------------------------------

DEEP_STEPS = 400


def deep_mlp(settings: Settings, seed: int) -> Training:
    """Twelve layers without normalisation or shortcuts: whether they learn depends on how they are initialised."""
    random = generator(seed)
    width = int(settings.get("width", 64))
    chosen = {"optimizer": "adam", "lr": 1e-3, "init": "he", **settings}
    model = mlp([64, *[width] * 11, 10], chosen)
    return classifier(model, digits(), chosen, steps=DEEP_STEPS, random=random)


DEEP_MLP = Task(
    name="deep_mlp",
    steps=DEEP_STEPS,
    baseline=CHANCE,
    build=deep_mlp,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum_cosine", {"optimizer": "momentum", "lr": 0.02, "schedule": "cosine"}, fails=False),
        Arm("rmsprop_wide", {"optimizer": "rmsprop", "lr": 1e-4, "width": 128}, fails=False),
        Arm("adamw_strong_decay", {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1.0}, fails=False),
        Arm("hot_start_clipped", {"optimizer": "sgd", "lr": 0.1, "clip": 2.0, "init": 0.25}, fails=False),
        Arm("sigmoid", {"activation": "sigmoid", "init": "torch", "optimizer": "sgd", "lr": 0.1}, fails=True,
            expected=("vanishing_gradient", "stuck")),
        Arm("zero_init", {"init": "zeros", "bias": 0.0}, fails=True, expected=("no_gradient", "dead_units", "stuck")),
        Arm("lr_high", {"lr": 1.0}, fails=True, expected=("diverged", "dead_units", "stuck")),
        Arm("lr_1e-9", {"lr": 1e-9}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_hundredth", {"optimizer": "momentum", "lr": 2e-5}, fails=True, expected=("frozen", "stuck")),
        Arm("dead_relu", {"bias": -10.0}, fails=True, expected=("dead_units", "no_gradient", "stuck")),
        Arm("late_jump", {"schedule": "jump", "jump_at": 0.5, "jump_to": 500.0}, fails=True,
            expected=("diverged", "dead_units", "oscillating")),
    ],
)  # fmt: skip


# ---- a normalised CNN ------------------------------------------------------------------------------------------------

CNN_STEPS = 300


def cnn(settings: Settings) -> nn.Sequential:
    """Return three convolutions with batch normalisation, and a linear head."""
    width = int(settings.get("width", 12))

    def block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), activation_of(settings)]

    layers = [*block(1, width, 1), *block(width, 2 * width, 2), *block(2 * width, 2 * width, 2)]
    head: list[nn.Module] = [nn.Flatten(), nn.Linear(8 * width, 10)]
    return nn.Sequential(Call(lambda x: x.view(-1, 1, 8, 8)), *layers, *head)


def bn_cnn(settings: Settings, seed: int) -> Training:
    """A small CNN on digits."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, **settings}
    model = cnn(chosen)
    trained = None
    if settings.get("wrong_parameters"):  # the head was replaced after the optimizer had been made; the rest is frozen
        model.requires_grad_(requires_grad=False)
        trained = [*model[-1].requires_grad_().parameters()]
        model[-1] = nn.Linear(8 * int(chosen.get("width", 12)), 10)
    if settings.get("softmax"):
        with torch.no_grad():
            [*model.parameters()][-2].mul_(float(settings["softmax"]))  # the head's weight
        model.append(nn.Softmax(1))
    names = Names("train_loss", "val_loss", "val_acc")
    return classifier(model, digits(), chosen, steps=CNN_STEPS, random=random, names=names, trained=trained)


BN_CNN = Task(
    name="bn_cnn",
    steps=CNN_STEPS,
    baseline=CHANCE,
    build=bn_cnn,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum_cosine", {"optimizer": "momentum", "lr": 0.05, "schedule": "cosine"}, fails=False),
        Arm("sgd_small_updates", {"optimizer": "sgd", "lr": 0.01, "width": 16}, fails=False),
        Arm("memorises", {"lr": 0.01, "train_size": 300, "weight_decay": 0.0}, fails=False),
        Arm("lr_high", {"optimizer": "momentum", "lr": 1000.0}, fails=True,
            expected=("diverged", "oscillating", "non_finite")),
        Arm("lr_1e-7", {"optimizer": "momentum", "lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("wrong_parameters", {"wrong_parameters": True}, fails=True,
            expected=("unused_parameters", "no_gradient", "frozen")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "overfitting")),
        Arm("labels_of_other_samples", {"labels": "permuted", "lr": 0.005, "width": 24, "train_size": 256}, fails=True,
            expected=("overfitting",)),
        Arm("softmax_before_loss", {"softmax": 1000.0, "optimizer": "sgd", "lr": 0.01}, fails=True,
            expected=("loss_mismatch", "saturated", "stuck")),
    ],
)  # fmt: skip


# ---- an LSTM ---------------------------------------------------------------------------------------------------------

LSTM_STEPS = 300


class RowReader(nn.Module):
    """An LSTM that reads a digit row by row, and then perhaps zeros; its last state is classified."""

    def __init__(self, hidden: int, padding: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 64 to logits."""
        rows = functional.pad(x.view(-1, 8, 8), (0, 0, 0, self.padding))
        states: Tensor = self.lstm(rows)[0]
        logits: Tensor = self.head(states[:, -1])
        return logits


def lstm_rows(settings: Settings, seed: int) -> Training:
    """An LSTM on the rows of digits."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 5e-3, **settings}
    model = RowReader(int(chosen.get("hidden", 48)), int(chosen.get("padding", 0)))
    initialise(model, chosen)
    names = Names("loss", "eval_loss", "eval_accuracy")
    return classifier(model, digits(), chosen, steps=LSTM_STEPS, random=random, names=names)


LSTM_ROWS = Task(
    name="lstm_rows",
    steps=LSTM_STEPS,
    baseline=CHANCE,
    build=lstm_rows,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("adam_cosine_wide", {"lr": 3e-3, "hidden": 80, "schedule": "cosine"}, fails=False),
        Arm("sgd_clipped", {"optimizer": "momentum", "lr": 0.2, "clip": 0.5}, fails=False),
        Arm("rmsprop_warmup", {"optimizer": "rmsprop", "lr": 2e-3, "warmup": 0.5}, fails=False),
        Arm("init_exploding", {"init": 20.0}, fails=True, expected=("saturated", "stuck", "vanishing_gradient")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("no_clipping", {"optimizer": "momentum", "lr": 50.0}, fails=True,
            expected=("diverged", "saturated", "oscillating")),
        Arm("long_padding", {"padding": 48, "optimizer": "sgd", "lr": 0.05, "batch": 32}, fails=True,
            expected=("vanishing_gradient", "stuck")),
        Arm("late_jump", {"schedule": "jump", "jump_at": 0.6, "jump_to": 400.0}, fails=True,
            expected=("diverged", "saturated", "oscillating")),
    ],
)  # fmt: skip


# ---- a post-norm transformer -----------------------------------------------------------------------------------------

TRANSFORMER_STEPS = 300
LENGTH, VOCABULARY, LABELS = 8, 12, 4


def after_marker(size: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences with one marker (token 0), and the token after it, one of `LABELS`, as the label."""
    tokens = torch.randint(1, VOCABULARY, (size, LENGTH), generator=random)
    places = torch.randint(0, LENGTH - 1, (size,), generator=random)
    labels = torch.randint(0, LABELS, (size,), generator=random)
    rows = torch.arange(size)
    tokens[rows, places] = 0
    tokens[rows, places + 1] = labels + 1
    return tokens, labels


class Encoder(nn.Module):
    """A transformer encoder over tokens, with learned positions; the mean of its outputs is classified."""

    def __init__(self, layers: int, width: int, *, norm_first: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Parameter(torch.randn(1, LENGTH, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=norm_first)
            for _ in range(layers)
        )
        self.head = nn.Linear(width, LABELS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map N x LENGTH to logits."""
        x: Tensor = self.tokens(tokens) + self.positions
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x.mean(1))
        return logits


def postnorm_transformer(settings: Settings, seed: int) -> Training:
    """A transformer that has to find the token after a marker."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, "schedule": "linear", "warmup": 0.5, "batch": 48, **settings}
    model = Encoder(int(chosen.get("layers", 6)), int(chosen.get("width", 32)), norm_first=False)
    data = torch.Generator().manual_seed(11)
    split = Split(*after_marker(4000, data), *after_marker(400, data))
    names = Names("loss/train", "loss/eval", "accuracy/eval")
    return classifier(model, split, chosen, steps=TRANSFORMER_STEPS, random=random, names=names)


POSTNORM = Task(
    name="postnorm_transformer",
    steps=TRANSFORMER_STEPS,
    baseline=1 / LABELS,
    build=postnorm_transformer,
    evaluate_every=60,
    arms=[
        Arm("warmup_50", {}, fails=False),
        Arm("warmup_70", {"warmup": 0.7, "lr": 3e-3}, fails=False),
        Arm("adamw_clipped", {"optimizer": "adamw", "weight_decay": 0.1, "clip": 1.0, "warmup": 0.6}, fails=False),
        Arm("no_warmup_lr_high", {"warmup": 0.0, "lr": 0.03}, fails=True,
            expected=("stuck", "diverged", "vanishing_gradient")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_hundredth", {"lr": 2e-5}, fails=True, expected=("frozen", "stuck")),
        Arm("momentum_lr_high", {"optimizer": "momentum", "lr": 10.0, "warmup": 0.1}, fails=True,
            expected=("diverged", "stuck", "oscillating")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "overfitting")),
    ],
)  # fmt: skip


# ---- a ViT -----------------------------------------------------------------------------------------------------------

VIT_STEPS = 300


class Vit(nn.Module):
    """A vision transformer on patches of 2 x 2 pixels, with a class token and pre-normalisation."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, layers = int(settings.get("width", 32)), int(settings.get("layers", 3))
        self.patches = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 17, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        self.temperature = float(settings.get("temperature", 1.0))
        self.scale = float(settings.get("input_scale", 1.0))
        self.detached = bool(settings.get("detached", False))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 64 to logits."""
        patches: Tensor = self.patches(self.scale * x.view(-1, 1, 8, 8))
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        seen = self.norm(tokens[:, 0])
        logits: Tensor = self.head(seen.detach() if self.detached else seen) / self.temperature
        return logits


def vit(settings: Settings, seed: int) -> Training:
    """A tiny ViT on digits."""
    random = generator(seed)
    chosen = {"optimizer": "adamw", "lr": 3e-3, "batch": 48, "weight_decay": 0.05, **settings}
    names = Names("train/loss", "val/loss", "val/acc")
    return classifier(Vit(chosen), digits(), chosen, steps=VIT_STEPS, random=random, names=names)


VIT = Task(
    name="vit",
    steps=VIT_STEPS,
    baseline=CHANCE,
    build=vit,
    evaluate_every=60,
    arms=[
        Arm("adamw", {}, fails=False),
        Arm("warmup_cosine", {"lr": 5e-3, "warmup": 0.2, "schedule": "cosine"}, fails=False),
        Arm("adam_shallow_clipped", {"optimizer": "adam", "layers": 2, "clip": 1.0, "weight_decay": 0.0}, fails=False),
        Arm("lr_high", {"lr": 1.0}, fails=True, expected=("diverged", "stuck", "oscillating")),
        Arm("lr_1e-8", {"lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("class_token_detached", {"detached": True}, fails=True,
            expected=("unused_parameters", "no_gradient", "stuck")),
        Arm("decay_far_too_high", {"weight_decay": 5.0}, fails=True,
            expected=("over_regularised", "collapsed", "stuck")),
        Arm("sgd_lr_small", {"optimizer": "sgd", "lr": 1e-4}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- a mixture of experts --------------------------------------------------------------------------------------------

MOE_STEPS = 400


class Mixture(nn.Module):
    """Experts of which each sample uses two, weighted by a router, between an embedding and a head."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, experts = int(settings.get("width", 48)), int(settings.get("experts", 6))
        self.embed = nn.Linear(64, width)
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(mlp([width, 2 * width, width], settings) for _ in range(experts))
        self.head = nn.Linear(width, 10)
        self.detached = bool(settings.get("detached", False))
        self.balance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 64 to logits, and remember how evenly the experts were used."""
        hidden = torch.relu(self.embed(x))
        shares = self.router(hidden).softmax(-1)
        top, chosen = shares.topk(2, -1)
        weights = torch.zeros_like(shares).scatter(-1, chosen, top / top.sum(-1, keepdim=True))
        used = (weights > 0).float().mean(0)
        self.balance = len(self.experts) * (used * shares.mean(0)).sum() / 2
        outputs = torch.stack([expert(hidden) for expert in self.experts], 1)
        mixed = hidden + (weights[..., None] * outputs).sum(1)
        logits: Tensor = self.head(mixed)
        return logits.detach() + 0 * self.balance if self.detached else logits


def mixture(settings: Settings, seed: int) -> Training:
    """A mixture of experts on digits, with an auxiliary loss that balances their load."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, "aux": 0.01, **settings}
    model = Mixture(chosen)
    if chosen.get("bias_after") is not None:  # the embedding's units are dead, so that nothing passes
        with torch.no_grad():
            model.embed.bias.fill_(float(chosen["bias_after"]))
    return classifier(
        model,
        digits(),
        chosen,
        steps=MOE_STEPS,
        random=random,
        auxiliary=lambda: ("loss/aux", 0.0 if chosen.get("detached") else float(chosen["aux"]), model.balance),
    )


MOE = Task(
    name="mixture_of_experts",
    steps=MOE_STEPS,
    baseline=CHANCE,
    build=mixture,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("router_collapses", {"aux": 0.0, "optimizer": "momentum", "lr": 0.1}, fails=False),
        Arm("adamw_cosine", {"optimizer": "adamw", "lr": 3e-3, "schedule": "cosine", "weight_decay": 0.1}, fails=False),
        Arm("lr_high", {"lr": 10.0}, fails=True, expected=("diverged", "oscillating", "dead_units")),
        Arm("momentum_lr_high", {"optimizer": "momentum", "lr": 30.0}, fails=True,
            expected=("diverged", "non_finite", "dead_units")),
        Arm("detached", {"detached": True}, fails=True, expected=("no_gradient", "frozen", "stuck")),
        Arm("dead_embedding", {"bias_after": -20.0}, fails=True, expected=("dead_units", "no_gradient", "stuck")),
        Arm("aux_drowns_the_loss", {"aux": 1e6, "clip": 1.0, "optimizer": "sgd", "lr": 0.1}, fails=True,
            expected=("stuck", "loss_mismatch")),
    ],
)  # fmt: skip


# ---- LoRA ------------------------------------------------------------------------------------------------------------

LORA_STEPS = 300
PRETRAINING_STEPS = 300


class Adapted(nn.Module):
    """A frozen linear layer plus a trained product of two low-rank matrices, of which the second starts at zero."""

    def __init__(self, base: nn.Linear, rank: int, scale: float, *, attached: bool) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale, self.attached = scale, attached

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        output: Tensor = self.base(x)
        return output + self.scale * (x @ self.down.T @ self.up.T) if self.attached else output


def part_of_digits(classes: range) -> Split:
    """Return the digits of some classes."""
    every = digits()
    train = (every.y >= classes.start) & (every.y < classes.stop)
    test = (every.y_test >= classes.start) & (every.y_test < classes.stop)
    return Split(every.x[train], every.y[train], every.x_test[test], every.y_test[test])


def pretrained() -> nn.Sequential:
    """Return an MLP that was trained on the digits 0 to 4."""
    random = generator(77)
    model = mlp([64, 96, 96, 10], {})
    training = classifier(
        model, part_of_digits(range(5)), {"optimizer": "adam", "lr": 1e-3}, steps=PRETRAINING_STEPS, random=random
    )
    for i in range(PRETRAINING_STEPS):
        training.step(i)
    return model


def lora(settings: Settings, seed: int) -> Training:
    """An MLP that was trained on the digits 0 to 4 and is adapted to 5 to 9."""
    base = pretrained()
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 5e-3, **settings}
    if chosen.get("base") == "random":
        base = mlp([64, 96, 96, 10], {})
    base.requires_grad_(requires_grad=False)
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(base):
        if isinstance(layer, nn.Linear):
            attached = not chosen.get("adapters_off", False)
            layers.append(
                Adapted(layer, int(chosen.get("rank", 4)), float(chosen.get("scale", 1.0)), attached=attached)
            )
        else:
            layers.append(layer)
    model = nn.Sequential(*layers)
    if chosen.get("down") == "zero":
        with torch.no_grad():
            for adapted in model:
                if isinstance(adapted, Adapted):
                    adapted.down.zero_()
    if chosen.get("adapters_off"):  # as with peft's enable_input_require_grads
        model = nn.Sequential(Call(lambda x: x.clone().requires_grad_()), *layers)
    trained: Any = [parameter for parameter in model.parameters() if parameter.requires_grad]
    names = Names("loss", "eval_loss", "eval_accuracy")
    split = part_of_digits(range(5, 10))
    return classifier(model, split, chosen, steps=LORA_STEPS, random=random, names=names, trained=trained)


LORA = Task(
    name="lora",
    steps=LORA_STEPS,
    baseline=0.22,
    build=lora,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("adamw_rank_8_warmup", {"optimizer": "adamw", "rank": 8, "lr": 3e-3, "warmup": 0.1}, fails=False),
        Arm("momentum_cosine", {"optimizer": "momentum", "lr": 0.02, "schedule": "cosine"}, fails=False),
        Arm("lr_1e-9", {"lr": 1e-9}, fails=True, expected=("frozen", "stuck")),
        Arm("base_not_loaded", {"base": "random"}, fails=True, expected=("stuck",), border=True),
        Arm("adapters_off", {"adapters_off": True}, fails=True,
            expected=("no_gradient", "unused_parameters", "frozen")),
        Arm("both_factors_zero", {"down": "zero"}, fails=True, expected=("no_gradient", "frozen", "stuck")),
        Arm("lr_high", {"optimizer": "momentum", "lr": 100.0}, fails=True,
            expected=("diverged", "non_finite", "dead_units")),
        Arm("lr_hundredth", {"optimizer": "sgd", "lr": 1e-4}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- warm restarts ---------------------------------------------------------------------------------------------------

RESTART_STEPS = 400


def restarts(settings: Settings, seed: int) -> Training:
    """An MLP or a CNN under a cosine schedule with warm restarts; the loss of a healthy run jumps at each restart."""
    random = generator(seed)
    chosen = {"optimizer": "momentum", "lr": 0.1, "schedule": "restarts", "periods": 4, "batch": 32, **settings}
    model = cnn({"width": 8}) if chosen.get("model") == "cnn" else mlp([64, 96, 96, 10], {"init": "he", **settings})
    return classifier(model, digits(), chosen, steps=RESTART_STEPS, random=random, names=Names("train_loss"))


RESTARTS = Task(
    name="warm_restarts",
    steps=RESTART_STEPS,
    baseline=CHANCE,
    build=restarts,
    arms=[
        Arm("momentum", {}, fails=False),
        Arm("adam_five_periods", {"optimizer": "adam", "lr": 0.01, "periods": 5}, fails=False),
        Arm("cnn", {"model": "cnn", "lr": 0.1, "periods": 2}, fails=False),
        Arm("gain", {"gain": 20.0, "periods": 3}, fails=True, expected=("diverged", "non_finite", "dead_units")),
        Arm("adam_gain", {"optimizer": "adam", "lr": 0.003, "gain": 100.0, "periods": 3}, fails=True,
            expected=("diverged", "dead_units", "oscillating")),
        Arm("lr_high", {"lr": 30.0}, fails=True, expected=("diverged", "non_finite", "dead_units")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "overfitting")),
    ],
)  # fmt: skip

TASKS = (DEEP_MLP, BN_CNN, LSTM_ROWS, POSTNORM, VIT, MOE, LORA, RESTARTS)
