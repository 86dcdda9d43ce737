"""Half B of the zoo: MLPs, CNNs, an RNN, token models, a VAE, a WGAN, actor-critic, fine-tuning and bfloat16."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.common import (
    Call,
    Names,
    Split,
    accuracy_and_loss,
    classifier,
    descend,
    digits,
    draw,
    generator,
    initialise,
    mlp,
    optimizer_of,
    peak_of,
    set_rate,
)
from benchmarks.zoo.networks_b import (
    EPISODE,
    ActorCritic,
    CartPoles,
    Elman,
    PlainCnn,
    ResidualCnn,
    TokenTransformer,
    Vae,
    characters,
    fill,
    intensities,
    motifs,
    part_of_digits,
    recall,
    ring,
    scaled,
    sliced_distance,
)
from benchmarks.zoo.task import Arm, Logged, Settings, Task, Training

CHANCE = 0.11
"""The accuracy on digits of a classifier that always names one class."""


def supervised(  # noqa: PLR0913 - each is a part of a classifier
    model: nn.Module,
    split: Split,
    settings: Settings,
    *,
    steps: int,
    random: torch.Generator,
    names: Names,
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> Training:
    """Return the training of a classifier by any loss; with `zero_grad: False`, gradients are never reset."""
    optimizer = optimizer_of(settings, [p for p in model.parameters() if p.requires_grad])

    def step(i: int) -> Logged:
        model.train()
        set_rate(optimizer, settings, i, steps)
        x, y = draw(split, settings, random)
        loss = loss_of(model(x), y)
        if settings.get("zero_grad", True):
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {names.loss: loss.detach()}

    def evaluate() -> Mapping[str, float]:
        return tested(model, split, names)

    return Training(model, [optimizer], step, evaluate, peak_of(settings, steps))


def tested(model: nn.Module, split: Split, names: Names) -> Mapping[str, float]:
    """Return the score and what a script logs of the test of a classifier."""
    model.eval()
    accuracy, loss = accuracy_and_loss(model, split.x_test, split.y_test)
    return {"score/test": accuracy, names.accuracy: accuracy, names.test_loss: loss}


# ---- a wide MLP with one hidden layer --------------------------------------------------------------------------------

WIDE_STEPS = 300


def wide_mlp(settings: Settings, seed: int) -> Training:
    """One wide hidden layer on digits."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 1e-3, **settings}
    model = mlp([64, int(chosen.get("width", 512)), 10], chosen)
    if "constant" in chosen:
        fill(model.parameters(), float(chosen["constant"]))
    split = scaled(digits(), float(chosen.get("input_scale", 1.0)))
    names = Names("train_loss", "val_loss", "acc")
    return classifier(model, split, chosen, steps=WIDE_STEPS, random=random, names=names)


WIDE_MLP = Task(
    name="wide_mlp",
    steps=WIDE_STEPS,
    baseline=CHANCE,
    build=wide_mlp,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("sgd", {"optimizer": "sgd", "lr": 0.1, "batch": 32}, fails=False),
        Arm("converges_early", {"lr": 3e-3, "schedule": "cosine", "width": 1024}, fails=False),
        Arm("large_init", {"optimizer": "adagrad", "lr": 0.02, "init": 0.5}, fails=False),
        Arm("lr_high", {"optimizer": "sgd", "lr": 300.0}, fails=True,
            expected=("diverged", "dead_units", "non_finite")),
        Arm("lr_1e-8", {"lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("zero_init", {"init": "zeros", "bias": 0.0}, fails=True, expected=("no_gradient", "dead_units", "stuck")),
        Arm("constant_init", {"constant": 0.05, "optimizer": "sgd", "lr": 0.1}, fails=True, expected=("stuck",)),
        Arm("dead_relu", {"bias": -30.0}, fails=True, expected=("dead_units", "no_gradient", "stuck")),
        Arm("inputs_x1000", {"input_scale": 1000.0, "optimizer": "momentum", "lr": 0.1}, fails=True,
            expected=("input_scale", "diverged", "dead_units")),
    ],
)  # fmt: skip


# ---- a narrow MLP ----------------------------------------------------------------------------------------------------

NARROW_STEPS = 400


def narrow_mlp(settings: Settings, seed: int) -> Training:
    """Hidden layers of ten and eight units on digits."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 1e-2, "activation": "tanh", "init": "he", "bias": 0.0, **settings}
    model = mlp([64, int(chosen.get("width", 10)), 8, 10], chosen)
    split = scaled(digits(), float(chosen.get("input_scale", 1.0)))
    sign = -1.0 if chosen.get("flipped") else 1.0
    return supervised(
        model,
        split,
        chosen,
        steps=NARROW_STEPS,
        random=random,
        names=Names("loss", "test/loss", "test/accuracy"),
        loss_of=lambda logits, y: sign * functional.cross_entropy(logits, y),
    )


NARROW_MLP = Task(
    name="narrow_mlp",
    steps=NARROW_STEPS,
    baseline=CHANCE,
    build=narrow_mlp,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum_cosine", {"optimizer": "momentum", "lr": 0.1, "schedule": "cosine"}, fails=False),
        Arm("relu_rmsprop", {"activation": "leaky", "optimizer": "rmsprop", "lr": 5e-3, "width": 16}, fails=False),
        Arm("inputs_x1000_tanh", {"input_scale": 1000.0, "optimizer": "sgd", "lr": 0.03}, fails=True,
            expected=("input_scale", "saturated", "vanishing_gradient")),
        Arm("lr_hundredth", {"optimizer": "momentum", "lr": 2e-4, "batch": 16}, fails=True,
            expected=("frozen", "stuck")),
        Arm("loss_sign_flipped", {"flipped": True}, fails=True, expected=("diverged", "loss_mismatch")),
        Arm("late_jump", {"optimizer": "momentum", "lr": 0.1, "schedule": "jump", "jump_at": 0.6, "jump_to": 1000.0},
            fails=True, expected=("collapsed", "diverged", "saturated")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "loss_mismatch")),
    ],
)  # fmt: skip


# ---- a CNN without normalisation -------------------------------------------------------------------------------------

CNN_STEPS = 350


def plain_cnn(settings: Settings, seed: int) -> Training:
    """A plain CNN on digits, with six units before its head."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 5e-3, "batch": 48, **settings}
    return supervised(
        PlainCnn(chosen),
        digits(),
        chosen,
        steps=CNN_STEPS,
        random=random,
        names=Names("loss/train", "loss/val", "accuracy/val"),
        loss_of=functional.cross_entropy,
    )


PLAIN_CNN = Task(
    name="plain_cnn",
    steps=CNN_STEPS,
    baseline=CHANCE,
    build=plain_cnn,
    evaluate_every=70,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum_wide", {"optimizer": "momentum", "lr": 0.02, "width": 24}, fails=False),
        Arm("adamw_gelu_cosine", {"optimizer": "adamw", "lr": 1e-2, "activation": "gelu", "schedule": "cosine"},
            fails=False),
        Arm("deep_tanh_small_init", {"depth": 8, "activation": "tanh", "init": 0.01, "optimizer": "sgd", "lr": 0.05},
            fails=True, expected=("vanishing_gradient", "stuck")),
        Arm("lr_high", {"lr": 1.0}, fails=True, expected=("diverged", "dead_units", "stuck")),
        Arm("detached_in_the_middle", {"detached": True}, fails=True,
            expected=("no_gradient", "unused_parameters", "stuck")),
        Arm("never_zero_grad", {"zero_grad": False, "optimizer": "sgd", "lr": 0.3}, fails=True,
            expected=("diverged", "oscillating", "dead_units")),
        Arm("lr_1e-7", {"optimizer": "rmsprop", "lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- a residual CNN --------------------------------------------------------------------------------------------------

RESIDUAL_STEPS = 250


def residual_cnn(settings: Settings, seed: int) -> Training:
    """Residual blocks on digits; with `frozen`, every weight of the CNN except its biases is frozen."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 5e-3, "batch": 48, **settings}
    model = ResidualCnn(int(chosen.get("width", 12)))
    if chosen.get("frozen"):
        for parameter in model.parameters():
            parameter.requires_grad = parameter.dim() == 1

    def wrong(logits: Tensor, y: Tensor) -> Tensor:
        return -functional.mse_loss(logits.softmax(-1), functional.one_hot(y, 10).float())

    return supervised(
        model,
        digits(),
        chosen,
        steps=RESIDUAL_STEPS,
        random=random,
        names=Names("train/loss", "valid/loss", "valid/acc"),
        loss_of=wrong if chosen.get("wrong_loss") else functional.cross_entropy,
    )


RESIDUAL_CNN = Task(
    name="residual_cnn",
    steps=RESIDUAL_STEPS,
    baseline=CHANCE,
    build=residual_cnn,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("adamw_strong_decay", {"optimizer": "adamw", "lr": 5e-3, "weight_decay": 1.0}, fails=False),
        Arm("rmsprop_warmup", {"optimizer": "rmsprop", "lr": 2e-3, "warmup": 0.2, "schedule": "cosine", "width": 16},
            fails=False),
        Arm("lr_high", {"lr": 3.0}, fails=True, expected=("diverged", "dead_units", "stuck")),
        Arm("momentum_lr_high", {"optimizer": "momentum", "lr": 30.0}, fails=True,
            expected=("non_finite", "diverged", "dead_units")),
        Arm("wrong_loss", {"wrong_loss": True}, fails=True, expected=("loss_mismatch", "saturated")),
        Arm("weights_frozen", {"frozen": True}, fails=True, expected=("frozen", "unused_parameters", "stuck")),
        Arm("lr_thousandth", {"optimizer": "momentum", "lr": 3e-5}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- a vanilla RNN ---------------------------------------------------------------------------------------------------

RNN_STEPS = 400


def vanilla_rnn(settings: Settings, seed: int) -> Training:
    """An RNN that has to remember the first token of a sequence."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, "clip": 1.0, "batch": 32, "length": 20, **settings}
    model, length = Elman(chosen), int(chosen["length"])
    data = torch.Generator().manual_seed(5)
    split = Split(*recall(2000, length, data), *recall(300, length, data))
    names = Names("loss", "eval_loss", "eval_accuracy")
    return classifier(model, split, chosen, steps=RNN_STEPS, random=random, names=names)


VANILLA_RNN = Task(
    name="vanilla_rnn",
    steps=RNN_STEPS,
    baseline=0.27,
    build=vanilla_rnn,
    arms=[
        Arm("orthogonal_clipped", {}, fails=False),
        Arm("momentum_clipped", {"optimizer": "momentum", "lr": 0.03}, fails=False),
        Arm("identity_relu", {"activation": "relu", "recurrent": "identity", "lr": 1e-3, "clip": 0.5}, fails=False),
        Arm("exploding", {"activation": "relu", "gain": 4.0, "length": 40, "clip": 0.0, "optimizer": "sgd", "lr": 0.1},
            fails=True, expected=("non_finite", "diverged")),
        Arm("vanishing", {"recurrent": 0.05, "length": 40, "optimizer": "sgd", "lr": 0.1}, fails=True,
            expected=("vanishing_gradient", "stuck")),
        Arm("saturated", {"recurrent": 3.0, "lr": 1e-3, "length": 40}, fails=True, expected=("saturated", "stuck")),
        Arm("lr_1e-8", {"lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("late_jump", {"schedule": "jump", "jump_at": 0.6, "jump_to": 300.0}, fails=True,
            expected=("collapsed", "saturated", "oscillating")),
    ],
)  # fmt: skip


# ---- a masked language model -----------------------------------------------------------------------------------------

MASKED_STEPS = 350
CODES, MASKED_LENGTH = 9, 12


def masked_model(settings: Settings, seed: int) -> Training:
    """A pre-norm encoder that fills in masked tokens (code 0) of sequences with a period of three.

    With `visible`, a script's bug: its loss is that of the tokens that are not masked.
    """
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, **settings}
    model = TokenTransformer(CODES, MASKED_LENGTH, chosen, causal=False)
    optimizer = optimizer_of(chosen, model.parameters())
    tokens_test, mask_test = motifs(300, MASKED_LENGTH, CODES, torch.Generator().manual_seed(9))

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, MASKED_STEPS)
        tokens, mask = motifs(32, MASKED_LENGTH, CODES, random)
        logits = model(tokens.masked_fill(mask, 0))
        counted = ~mask if chosen.get("visible") else mask
        loss = functional.cross_entropy(logits[counted], tokens[counted])
        descend(optimizer, loss, model.parameters(), float(chosen.get("clip", 0.0)))
        return {"mlm_loss": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        with torch.no_grad():
            logits = model(tokens_test.masked_fill(mask_test, 0))[mask_test]
        right = (logits.argmax(-1) == tokens_test[mask_test]) & logits.isfinite().all(-1)
        score = float(right.float().mean())
        loss = float(functional.cross_entropy(logits, tokens_test[mask_test]))
        return {"score/test": score, "eval_mlm_accuracy": score, "eval_mlm_loss": loss}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, MASKED_STEPS))


MASKED = Task(
    name="masked_prenorm",
    steps=MASKED_STEPS,
    baseline=1 / (CODES - 1),
    build=masked_model,
    arms=[
        Arm("no_warmup", {}, fails=False),
        Arm("adamw_linear", {"optimizer": "adamw", "lr": 5e-3, "warmup": 0.1, "schedule": "linear"}, fails=False),
        Arm("shallow_clipped", {"layers": 1, "lr": 5e-3, "clip": 0.5, "width": 48}, fails=False),
        Arm("lr_high", {"lr": 1.0}, fails=True, expected=("diverged", "stuck", "oscillating")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("late_jump", {"schedule": "jump", "jump_at": 0.7, "jump_to": 200.0}, fails=True,
            expected=("collapsed", "diverged", "stuck")),
        Arm("loss_of_visible_tokens", {"visible": True}, fails=True, expected=("loss_mismatch", "overfitting")),
        Arm("sgd_lr_small", {"optimizer": "sgd", "lr": 1e-3}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- a character model -----------------------------------------------------------------------------------------------

GPT_STEPS = 300
CONTEXT = 24


def windows(codes: Tensor, starts: Tensor, targets: str) -> tuple[Tensor, Tensor]:
    """Return contexts and their targets: the next characters, or by a bug the same ones (`unshifted`)."""
    whole = codes[starts[:, None] + torch.arange(CONTEXT + 1)]
    return whole[:, :-1], whole[:, :-1] if targets == "unshifted" else whole[:, 1:]


def character_gpt(settings: Settings, seed: int) -> Training:
    """A small GPT on the characters of scikit-learn's descriptions; the score is the accuracy of the next character."""
    random = generator(seed)
    chosen = {"optimizer": "adamw", "lr": 5e-3, "targets": "next", **settings}
    train, test, count = characters()
    model = TokenTransformer(count, CONTEXT, chosen, causal=True)
    optimizer = optimizer_of(chosen, model.parameters())
    places = torch.randint(0, len(test) - CONTEXT, (64,), generator=torch.Generator().manual_seed(2))
    x_test, y_test = windows(test, places, "next")

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, GPT_STEPS)
        x, y = windows(train, torch.randint(0, len(train) - CONTEXT, (24,), generator=random), chosen["targets"])
        if chosen["targets"] == "random":
            y = y.flatten()[torch.randperm(y.numel(), generator=random)].view_as(y)
        loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        descend(optimizer, loss, model.parameters(), float(chosen.get("clip", 0.0)))
        return {"loss": loss.detach(), "ppl": loss.detach().exp()}

    def evaluate() -> Mapping[str, float]:
        accuracy, loss = accuracy_and_loss(lambda x: model(x).flatten(0, 1), x_test, y_test.flatten())
        return {"score/test": accuracy, "val_acc": accuracy, "val_loss": loss}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, GPT_STEPS))


GPT = Task(
    name="character_gpt",
    steps=GPT_STEPS,
    baseline=0.217,
    build=character_gpt,
    arms=[
        Arm("adamw", {}, fails=False),
        Arm("warmup_cosine_clipped", {"lr": 1e-2, "warmup": 0.1, "schedule": "cosine", "clip": 1.0}, fails=False),
        Arm("adam_shallow_wide", {"optimizer": "adam", "lr": 4e-3, "layers": 1, "width": 64}, fails=False),
        Arm("lr_high", {"lr": 1.0}, fails=True, expected=("diverged", "stuck", "oscillating")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("decay_10", {"optimizer": "adam", "weight_decay": 10.0}, fails=True,
            expected=("collapsed", "stuck", "vanishing_gradient")),
        Arm("targets_unshifted", {"targets": "unshifted"}, fails=True, expected=("loss_mismatch", "overfitting")),
        Arm("targets_random", {"targets": "random"}, fails=True, expected=("stuck", "loss_mismatch")),
    ],
)  # fmt: skip


# ---- a variational autoencoder ---------------------------------------------------------------------------------------

VAE_STEPS = 400


def vae(settings: Settings, seed: int) -> Training:
    """A VAE on digits; the score is the share of the pixels' variance that a reconstruction explains."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, "beta": 1.0, **settings}
    model = Vae(int(chosen.get("hidden", 64)), 8)
    if "variance_bias" in chosen:  # the variances start so high that the samples are noise
        with torch.no_grad():
            [*model.encoder.parameters()][-1][8:] = float(chosen["variance_bias"])
    optimizer = optimizer_of(chosen, model.parameters())
    train, test = intensities()
    variance = float((test - train.mean(0)).pow(2).mean())

    def terms(x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = model.encode(x)
        z = mean + torch.exp(log_variance / 2) * torch.randn(mean.shape, generator=random)
        if chosen.get("detached"):
            z = z.detach()
        pixels = model.decoder(z)
        reconstruction = functional.binary_cross_entropy_with_logits(pixels, x, reduction="sum") / len(x)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum() / len(x)
        return reconstruction, divergence

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, VAE_STEPS)
        x = train[torch.randint(0, len(train), (64,), generator=random)]
        reconstruction, divergence = terms(x)
        annealing = float(chosen.get("annealing", 0.0)) * VAE_STEPS
        beta = float(chosen["beta"]) * (min(1.0, i / annealing) if annealing else 1.0)
        loss = reconstruction + beta * divergence
        descend(optimizer, loss, model.parameters(), float(chosen.get("clip", 0.0)))
        return {"loss": loss.detach(), "loss/reconstruction": reconstruction.detach(), "loss/kl": divergence.detach()}

    def evaluate() -> Mapping[str, float]:
        with torch.no_grad():
            error = float((model(test) - test).pow(2).mean())
            reconstruction, divergence = terms(test[:64])
        return {"score/test": 1 - error / variance, "elbo/test": -float(reconstruction + divergence)}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, VAE_STEPS))


VAE = Task(
    name="vae",
    steps=VAE_STEPS,
    baseline=0.0,
    build=vae,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("rising_beta", {"annealing": 1.0, "lr": 5e-3, "hidden": 96}, fails=False),
        Arm("rmsprop_cosine", {"optimizer": "rmsprop", "lr": 3e-3, "schedule": "cosine", "beta": 0.5}, fails=False),
        Arm("beta_50", {"beta": 50.0}, fails=True, expected=("collapsed", "stuck")),
        Arm("lr_high", {"lr": 3.0}, fails=True, expected=("diverged", "dead_units", "non_finite")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("latent_detached", {"detached": True}, fails=True, expected=("no_gradient", "collapsed", "stuck")),
        Arm("beta_grows_to_200", {"beta": 200.0, "annealing": 1.0}, fails=True,
            expected=("collapsed", "loss_mismatch")),
        Arm("sgd_overflows", {"optimizer": "sgd", "lr": 1.0, "variance_bias": 8.0}, fails=True,
            expected=("non_finite", "diverged", "dead_units")),
    ],
)  # fmt: skip


# ---- a WGAN with a gradient penalty ----------------------------------------------------------------------------------

WGAN_STEPS = 250
CRITIC_STEPS = 3


def wgan(settings: Settings, seed: int) -> Training:
    """A WGAN-GP on eight Gaussians; the score is the share of the distance to the data that the generator closes.

    A call of `step` is one iteration: three steps of the critic and one of the generator.
    """
    random = generator(seed)
    chosen = {"lr": 2e-3, "critic_lr": 2e-3, "penalty": 1.0, "width": 64, **settings}
    width, sign = int(chosen["width"]), -1.0 if chosen.get("flipped") else 1.0
    critic = mlp([2, width, width, 1], {"activation": "leaky"})
    maker = mlp([4, width, width, 2], {})
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=float(chosen["critic_lr"]), betas=(0.5, 0.9))
    maker_optimizer = torch.optim.Adam(maker.parameters(), lr=float(chosen["lr"]), betas=(0.5, 0.9))
    fixed = torch.Generator().manual_seed(4)
    real_test, noise_test = ring(512, fixed), torch.randn(512, 4, generator=fixed)
    trivial = sliced_distance(torch.zeros(512, 2), real_test)

    def critic_step() -> tuple[Tensor, Tensor]:
        real, noise = ring(64, random), torch.randn(64, 4, generator=random)
        fake = maker(noise).detach()
        share = torch.rand(64, 1, generator=random)
        between = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = (slope.norm(2, 1) - 1).pow(2).mean()
        loss = critic(fake).mean() - critic(real).mean()
        critic_optimizer.zero_grad()
        (loss + float(chosen["penalty"]) * penalty).backward()
        critic_optimizer.step()
        if "clamp" in chosen:  # the weights are clipped, as before the penalty was invented
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-float(chosen["clamp"]), float(chosen["clamp"]))
        return loss.detach(), penalty.detach()

    def step(i: int) -> Logged:
        set_rate(maker_optimizer, chosen, i, WGAN_STEPS)
        losses = [critic_step() for _ in range(CRITIC_STEPS)]
        made = maker(torch.randn(64, 4, generator=random))
        loss = -sign * critic(made).mean()
        descend(maker_optimizer, loss, maker.parameters(), 0.0)
        return {"d_loss": losses[-1][0], "gradient_penalty": losses[-1][1], "g_loss": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        with torch.no_grad():
            distance = sliced_distance(maker(noise_test), real_test)
        return {"score/test": 1 - distance / trivial, "distance/test": distance}

    model = nn.ModuleDict({"critic": critic, "generator": maker})
    return Training(model, [critic_optimizer, maker_optimizer], step, evaluate)


WGAN = Task(
    name="wgan_gp",
    steps=WGAN_STEPS,
    baseline=0.0,
    build=wgan,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("two_rates", {"lr": 1e-3, "critic_lr": 4e-3}, fails=False),
        Arm("wide_cosine", {"lr": 3e-3, "critic_lr": 3e-3, "width": 96, "schedule": "cosine"}, fails=False),
        Arm("critic_clamped_to_1e-3", {"penalty": 0.0, "clamp": 1e-3, "lr": 1e-4}, fails=True,
            expected=("vanishing_gradient", "stuck")),
        Arm("lr_high", {"lr": 0.5, "critic_lr": 0.5}, fails=True, expected=("diverged", "oscillating", "dead_units")),
        Arm("generator_lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("generator_sign_flipped", {"flipped": True}, fails=True, expected=("diverged", "loss_mismatch")),
        Arm("no_penalty", {"penalty": 0.0, "lr": 0.01, "critic_lr": 0.01}, fails=True,
            expected=("diverged", "oscillating")),
    ],
)  # fmt: skip


# ---- actor-critic on cart-poles --------------------------------------------------------------------------------------

ACTOR_STEPS = 400
CARTS, HORIZON, DISCOUNT = 32, 16, 0.97


def actor_critic(settings: Settings, seed: int) -> Training:
    """Advantage actor-critic with a shared trunk; the score is the share of an episode that the pole stays up."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, "entropy": 0.01, "clip": 0.5, **settings}
    model = ActorCritic(int(chosen.get("width", 32)))
    optimizer = optimizer_of(chosen, model.parameters())
    carts, sign = CartPoles(CARTS, random), -1.0 if chosen.get("flipped") else 1.0

    def choose(states: Tensor, source: torch.Generator) -> Tensor:
        logits, _ = model(states)
        right: Tensor = logits.softmax(-1).nan_to_num(0.5)[:, 1]
        return (torch.rand(len(states), generator=source) < right).long()

    @torch.no_grad()
    def rollout() -> tuple[Tensor, Tensor, Tensor]:
        states, actions, ends = [], [], []
        for _ in range(HORIZON):
            states.append(carts.state)
            actions.append(choose(carts.state, random))
            ends.append(carts.act(actions[-1]))
        returns, value = [], model(carts.state)[1]
        for ended in reversed(ends):
            value = torch.where(ended, 0.0, 0.1 + DISCOUNT * value)
            returns.append(value)
        return torch.stack(states), torch.stack(actions), torch.stack(returns[::-1])

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, ACTOR_STEPS)
        states, actions, returns = rollout()
        logits, values = model(states)
        logs = logits.log_softmax(-1)
        advantages = (returns - values).detach()
        advantages = sign * (advantages - advantages.mean()) / (advantages.std() + 1e-6)
        policy_loss = -(advantages * logs.gather(-1, actions[..., None])[..., 0]).mean()
        value_loss = functional.mse_loss(values, returns)
        entropy = -(logs.exp() * logs).sum(-1).mean()
        loss = policy_loss + 0.5 * value_loss - float(chosen["entropy"]) * entropy
        descend(optimizer, loss, model.parameters(), float(chosen["clip"]))
        return {"policy_loss": policy_loss.detach(), "value_loss": value_loss.detach(), "entropy": entropy.detach()}

    @torch.no_grad()
    def evaluate() -> Mapping[str, float]:
        source = torch.Generator().manual_seed(6)
        trial, standing = CartPoles(CARTS, source), torch.ones(CARTS, dtype=torch.bool)
        lengths = torch.zeros(CARTS)
        for _ in range(EPISODE):
            lengths += standing
            standing &= ~trial.act(choose(trial.state, source))
        mean = float(lengths.mean())
        return {"score/test": mean / EPISODE, "episode_length": mean}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, ACTOR_STEPS))


ACTOR_CRITIC = Task(
    name="actor_critic",
    steps=ACTOR_STEPS,
    baseline=0.22,
    build=actor_critic,
    evaluate_every=80,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("rmsprop_wide", {"optimizer": "rmsprop", "lr": 1e-3, "width": 64}, fails=False),
        Arm("adam_linear_decay", {"lr": 5e-3, "schedule": "linear", "warmup": 0.05, "entropy": 0.0}, fails=False),
        Arm("lr_1", {"lr": 1.0}, fails=True, expected=("diverged", "saturated", "collapsed")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("advantage_sign_flipped", {"flipped": True}, fails=True, expected=("loss_mismatch", "collapsed", "stuck")),
        Arm("entropy_bonus_10", {"entropy": 10.0}, fails=True, expected=("stuck", "loss_mismatch")),
        Arm("late_jump", {"schedule": "jump", "jump_at": 0.7, "jump_to": 500.0}, fails=True,
            expected=("collapsed", "saturated", "diverged")),
    ],
)  # fmt: skip


# ---- distillation ----------------------------------------------------------------------------------------------------

DISTILLATION_STEPS = 300


@functools.cache
def teacher(*, trained: bool) -> nn.Module:
    """Return a classifier of digits, trained for 200 steps or not at all."""
    random = generator(77)
    model = mlp([64, 128, 10], {})
    if trained:
        training = classifier(model, digits(), {"lr": 3e-3}, steps=200, random=random)
        for i in range(200):
            training.step(i)
    return model.requires_grad_(requires_grad=False)


def distillation(settings: Settings, seed: int) -> Training:
    """A small student that follows the soft targets of a teacher."""
    guide = teacher(trained=not settings.get("random_teacher", False))
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 5e-3, "temperature": 4.0, "factor": 16.0, **settings}
    model = mlp([64, int(chosen.get("width", 16)), 10], chosen)
    optimizer = optimizer_of(chosen, model.parameters())
    split, warmth = digits(), float(chosen["temperature"])

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, DISTILLATION_STEPS)
        x, _ = draw(split, chosen, random)
        soft = (guide(x) / warmth).softmax(-1)
        loss = float(chosen["factor"]) * functional.cross_entropy(model(x) / warmth, soft)
        descend(optimizer, loss, model.parameters(), 0.0)
        return {"kd_loss": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        return tested(model, split, Names(test_loss="val/ce", accuracy="val/top1"))

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, DISTILLATION_STEPS))


DISTILLATION = Task(
    name="distillation",
    steps=DISTILLATION_STEPS,
    baseline=CHANCE,
    build=distillation,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum_cosine", {"optimizer": "momentum", "lr": 0.02, "schedule": "cosine", "width": 32}, fails=False),
        Arm("warm_small_loss", {"temperature": 10.0, "factor": 1.0, "lr": 1e-2}, fails=False),
        Arm("random_teacher", {"random_teacher": True}, fails=True, expected=("stuck", "loss_mismatch")),
        Arm("temperature_1e4", {"temperature": 1e4, "factor": 1.0, "optimizer": "sgd", "lr": 0.1}, fails=True,
            expected=("no_gradient", "vanishing_gradient", "frozen")),
        Arm("temperature_1e-3", {"temperature": 1e-3, "factor": 1.0, "optimizer": "sgd", "lr": 0.1}, fails=True,
            expected=("diverged", "dead_units", "oscillating")),
        Arm("lr_high", {"lr": 10.0}, fails=True, expected=("diverged", "dead_units", "oscillating")),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- a linear probe --------------------------------------------------------------------------------------------------

PROBE_STEPS = 300


@functools.cache
def pretrained(first: int, last: int) -> nn.Sequential:
    """Return a body of two hidden layers that was trained for 300 steps to classify some of the digits."""
    random = generator(55)
    model = mlp([64, 48, 32, last - first + 1], {})
    training = classifier(model, part_of_digits(first, last), {"lr": 3e-3}, steps=300, random=random)
    for i in range(300):
        training.step(i)
    return nn.Sequential(*[*model][:-1])


def linear_probe(settings: Settings, seed: int) -> Training:
    """A linear layer on the frozen features of a network that was trained on the digits 0 to 7."""
    body = copy.deepcopy(pretrained(0, 7)).requires_grad_(requires_grad=False)
    random = generator(seed)
    chosen = {"optimizer": "sgd", "lr": 0.03, "features": 1.0, **settings}
    scale = float(chosen["features"])
    head = nn.Linear(32, 10)
    if chosen.get("zero_head"):
        fill(head.parameters(), 0.0)
    model = nn.Sequential(body, Call(lambda features: scale * features), head)

    def squared(outputs: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(outputs, functional.one_hot(y, 10).float())

    return supervised(
        model,
        digits(),
        chosen,
        steps=PROBE_STEPS,
        random=random,
        names=Names("probe/loss", "probe/val_loss", "probe/val_acc"),
        loss_of=squared if chosen.get("squared") else functional.cross_entropy,
    )


LINEAR_PROBE = Task(
    name="linear_probe",
    steps=PROBE_STEPS,
    baseline=CHANCE,
    build=linear_probe,
    arms=[
        Arm("sgd", {}, fails=False),
        Arm("sgd_tiny_updates", {"lr": 1e-3, "features": 2.0, "zero_head": True}, fails=False),
        Arm("adam_cosine", {"optimizer": "adam", "lr": 1e-2, "schedule": "cosine"}, fails=False),
        Arm("squared_loss", {"squared": True, "optimizer": "adam", "lr": 2e-2}, fails=False),
        Arm("lr_1e-9", {"lr": 1e-9}, fails=True, expected=("frozen", "stuck")),
        Arm("squared_loss_lr_high", {"squared": True, "lr": 3.0}, fails=True,
            expected=("diverged", "non_finite", "oscillating")),
        Arm("lr_times_decay_above_2", {"lr": 10.0, "weight_decay": 0.5}, fails=True,
            expected=("diverged", "non_finite", "oscillating")),
        Arm("features_zero", {"features": 0.0}, fails=True, expected=("dead_units", "no_gradient", "stuck")),
        Arm("features_x1e-4", {"features": 1e-4}, fails=True, expected=("input_scale", "vanishing_gradient", "stuck")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "loss_mismatch")),
    ],
)  # fmt: skip


# ---- fine-tuning with gradual unfreezing -----------------------------------------------------------------------------

UNFREEZING_STEPS = 400


def unfreeze(layer: nn.Module, optimizer: torch.optim.Optimizer, lr: float | None) -> None:
    """Unfreeze a layer, and with a learning rate give it to the optimizer."""
    layer.requires_grad_()
    if lr is not None:
        optimizer.add_param_group({"params": [*layer.parameters()], "lr": lr})


def unfreeze_until(
    step: int, moments: Mapping[int, nn.Module], optimizer: torch.optim.Optimizer, lr: float | None
) -> None:
    """Unfreeze the layers that the steps before `step` have unfrozen."""
    for moment in sorted(moments):
        if moment < step:
            unfreeze(moments[moment], optimizer, lr)


def unfreezing(settings: Settings, seed: int) -> Training:
    """A network that was trained on the digits 0 to 4 learns 5 to 9: the head first, then layer by layer.

    With `way: groups`, a layer joins the optimizer when it is unfrozen; otherwise the optimizer has it from the start.
    With `old_head`, a script's bug: the optimizer has the parameters of a head that was replaced.
    """
    body = copy.deepcopy(pretrained(0, 4))
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, "way": "groups", "ratio": 0.3, "first": 0.3, "second": 0.6, **settings}
    model = nn.Sequential(*body, nn.Linear(32, 5))
    lower, upper, head = model[0], model[2], model[4]
    for layer in (lower, upper):
        layer.requires_grad_(requires_grad=False)
    rate = float(chosen["lr"]) * float(chosen["ratio"])
    groups: list[dict[str, Any]] = [{"params": [*head.parameters()]}]
    if chosen["way"] == "all":
        groups += [{"params": [*layer.parameters()], "lr": rate} for layer in (upper, lower)]
    optimizer = optimizer_of(chosen, groups)  # type: ignore[arg-type]  # groups are parameters too
    if chosen.get("old_head"):
        model[4] = nn.Linear(32, 5)
    moments = {int(float(chosen[k]) * UNFREEZING_STEPS): v for k, v in (("first", upper), ("second", lower))}
    split = part_of_digits(5, 9)

    joins = rate if chosen["way"] == "groups" else None

    def step(i: int) -> Logged:
        if i in moments:
            unfreeze(moments[i], optimizer, joins)
            if chosen.get("reset"):  # the layer is initialised again by mistake, with zeros
                fill(moments[i].parameters(), 0.0)
        set_rate(optimizer, chosen, i, UNFREEZING_STEPS)
        x, y = draw(split, chosen, random)
        loss = functional.cross_entropy(model(x), y)
        descend(optimizer, loss, model.parameters(), float(chosen.get("clip", 0.0)))
        return {"loss/finetune": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        return tested(model, split, Names(test_loss="loss/val", accuracy="accuracy/val"))

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, UNFREEZING_STEPS),
                    functools.partial(unfreeze_until, moments=moments, optimizer=optimizer, lr=joins))  # fmt: skip


UNFREEZING = Task(
    name="unfreezing",
    steps=UNFREEZING_STEPS,
    baseline=0.24,
    build=unfreezing,
    arms=[
        Arm("adam_groups", {}, fails=False),
        Arm("momentum_requires_grad", {"optimizer": "momentum", "lr": 0.02, "way": "all"}, fails=False),
        Arm("adamw_cosine", {"optimizer": "adamw", "lr": 2e-2, "ratio": 0.1, "schedule": "cosine", "way": "all"},
            fails=False),
        Arm("unfrozen_at_lr_x1000", {"ratio": 1000.0}, fails=True, expected=("collapsed", "dead_units", "diverged")),
        Arm("momentum_unfrozen_at_lr_x1000", {"optimizer": "momentum", "lr": 0.02, "ratio": 1000.0, "way": "all"},
            fails=True, expected=("collapsed", "non_finite", "dead_units")),
        Arm("old_head_in_optimizer", {"old_head": True, "first": 2.0, "second": 3.0}, fails=True,
            expected=("unused_parameters", "no_gradient", "frozen")),
        Arm("lr_1e-8", {"lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("reset_when_unfrozen", {"reset": True}, fails=True, expected=("collapsed", "dead_units", "no_gradient")),
    ],
)  # fmt: skip


# ---- memorising ------------------------------------------------------------------------------------------------------

MEMORISING_STEPS = 600


def memorising(settings: Settings, seed: int) -> Training:
    """A network that memorizes 300 digits; `noise` is the share of random labels."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, "train_size": 300, "batch": 32, **settings}
    model = mlp([64, 192, 10], chosen)
    split = digits()
    wrong = torch.rand(len(split.y), generator=random) < float(chosen.get("noise", 0.0))
    others = torch.randint(0, 10, split.y.shape, generator=random)
    split = replace(split, y=torch.where(wrong, others, split.y))
    names = Names("train/loss", "test/loss", "test/acc")
    return classifier(model, split, chosen, steps=MEMORISING_STEPS, random=random, names=names)


MEMORISING = Task(
    name="memorising",
    steps=MEMORISING_STEPS,
    baseline=CHANCE,
    build=memorising,
    evaluate_every=100,
    arms=[
        Arm("adam_long_tail", {}, fails=False),
        Arm("momentum_long_tail", {"optimizer": "momentum", "lr": 0.1}, fails=False),
        Arm("noisy_labels", {"noise": 0.15, "lr": 5e-3}, fails=False),
        Arm("lr_high", {"lr": 30.0}, fails=True, expected=("diverged", "oscillating", "dead_units")),
        Arm("sgd_stuck", {"optimizer": "sgd", "lr": 1e-5}, fails=True, expected=("frozen", "stuck")),
        Arm("random_labels", {"noise": 1.0}, fails=True, expected=("overfitting",)),
        Arm("six_samples", {"train_size": 6}, fails=True, expected=("overfitting",)),
        Arm("jump_after_the_tail", {"schedule": "jump", "jump_at": 0.8, "jump_to": 3000.0}, fails=True,
            expected=("collapsed", "diverged", "oscillating")),
    ],
)  # fmt: skip


# ---- gradient accumulation -------------------------------------------------------------------------------------------

ACCUMULATION_STEPS = 300
MICRO_BATCHES = 4


def sharpen(parameters: Sequence[nn.Parameter], differentiate: Callable[[], object], radius: float) -> None:
    """Replace the gradient by the one at the worst point within a radius (Foret et al. 2021)."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
    scale = radius / (float(torch.stack([g.norm() for g in gradients]).norm()) + 1e-12)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.add_(gradient, alpha=scale)
    differentiate()
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=scale)


def accumulation(settings: Settings, seed: int) -> Training:
    """Four micro-batches for each optimizer step, perhaps in a closure, or twice for sharpness-aware minimisation."""
    random = generator(seed)
    chosen = {"optimizer": "sgd", "lr": 0.1, "batch": 16, "divide": MICRO_BATCHES, **settings}
    model = mlp([64, 64, 32, 10], chosen)
    parameters = [*model.parameters()]
    optimizer = optimizer_of(chosen, parameters)
    split = digits()

    def accumulate(batches: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        if chosen.get("zero_grad", True):
            optimizer.zero_grad()
        total = torch.zeros(())
        reduction = "sum" if chosen.get("summed") else "mean"
        for x, y in batches:
            loss = functional.cross_entropy(model(x), y, reduction=reduction) / float(chosen["divide"])
            loss.backward()
            total = total + loss.detach()
        return total

    def step(i: int) -> Logged:
        set_rate(optimizer, chosen, i, ACCUMULATION_STEPS)
        batches = [draw(split, chosen, random) for _ in range(MICRO_BATCHES)]
        if chosen.get("closure"):
            loss = torch.tensor(optimizer.step(lambda: float(accumulate(batches))))
        else:
            loss = accumulate(batches)
            if "radius" in chosen:
                sharpen(parameters, lambda: accumulate(batches), float(chosen["radius"]))
            optimizer.step()
        return {"train_loss": loss}

    def evaluate() -> Mapping[str, float]:
        return tested(model, split, Names(test_loss="eval_loss", accuracy="eval_accuracy"))

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, ACCUMULATION_STEPS))


ACCUMULATION = Task(
    name="accumulation",
    steps=ACCUMULATION_STEPS,
    baseline=CHANCE,
    build=accumulation,
    arms=[
        Arm("sgd", {}, fails=False),
        Arm("adam_closure", {"optimizer": "adam", "lr": 3e-3, "closure": True}, fails=False),
        Arm("sharpness_aware", {"radius": 0.05, "optimizer": "momentum", "lr": 0.03, "schedule": "cosine"},
            fails=False),
        Arm("zero_grad_missing", {"zero_grad": False, "lr": 1.0}, fails=True,
            expected=("diverged", "oscillating", "dead_units")),
        Arm("summed_not_averaged", {"summed": True, "divide": 1, "lr": 0.5}, fails=True,
            expected=("diverged", "dead_units", "non_finite")),
        Arm("divided_too_often", {"divide": 40_000}, fails=True, expected=("frozen", "vanishing_gradient", "stuck")),
        Arm("radius_100", {"radius": 100.0}, fails=True, expected=("diverged", "dead_units", "oscillating")),
        Arm("closure_lr_1e-6", {"lr": 1e-6, "closure": True, "optimizer": "momentum"}, fails=True,
            expected=("frozen", "stuck")),
    ],
)  # fmt: skip


# ---- bfloat16 weights ------------------------------------------------------------------------------------------------

BFLOAT_STEPS = 300


def bfloat16_mlp(settings: Settings, seed: int) -> Training:
    """An MLP with weights, gradients and optimizer state in bfloat16."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 3e-3, **settings}
    model = mlp([64, 64, 32, 10], chosen).to(torch.bfloat16)
    split = scaled(digits(), float(chosen.get("input_scale", 1.0)))
    split = replace(split, x=split.x.bfloat16(), x_test=split.x_test.bfloat16())
    names = Names("loss/train", "loss/test", "accuracy/test")
    return classifier(model, split, chosen, steps=BFLOAT_STEPS, random=random, names=names)


BFLOAT16 = Task(
    name="bfloat16_mlp",
    steps=BFLOAT_STEPS,
    baseline=CHANCE,
    build=bfloat16_mlp,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("momentum", {"optimizer": "momentum", "lr": 0.05, "batch": 32}, fails=False),
        Arm("adamw_cosine", {"optimizer": "adamw", "lr": 5e-3, "schedule": "cosine", "weight_decay": 0.1}, fails=False),
        Arm("updates_rounded_away", {"lr": 3e-6}, fails=True, expected=("frozen", "stuck")),
        Arm("sgd_rounded_away", {"optimizer": "sgd", "lr": 1e-4}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_high", {"lr": 3.0}, fails=True, expected=("diverged", "dead_units", "stuck")),
        Arm("sgd_lr_high", {"optimizer": "sgd", "lr": 1000.0}, fails=True,
            expected=("non_finite", "diverged", "dead_units")),
        Arm("zero_init", {"init": "zeros", "bias": 0.0}, fails=True, expected=("no_gradient", "dead_units", "stuck")),
    ],
)  # fmt: skip


# ---- a long warmup ---------------------------------------------------------------------------------------------------

WARMUP_STEPS = 500


def long_warmup(settings: Settings, seed: int) -> Training:
    """A normalised MLP; the learning rate grows by a constant factor for 70% of the steps, from 1e-5 of its peak."""
    random = generator(seed)
    chosen = {"optimizer": "sgd", "lr": 0.3, "share": 0.7, "batch": 48, **settings}
    layers: list[nn.Module] = []
    for inputs, outputs in ((64, 48), (48, 48), (48, 48)):
        layers += [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU()]
    head = nn.Linear(48, 10)
    if chosen.get("detached"):  # an output that does not depend on the network: the script takes it from a copy
        layers.append(Call(lambda x: 0 * x))
    model = nn.Sequential(*layers, head)
    initialise(model, chosen)
    optimizer = optimizer_of(chosen, model.parameters())
    split = digits()

    def step(i: int) -> Logged:
        position = min(1.0, i / (float(chosen["share"]) * WARMUP_STEPS))
        late = float(chosen.get("late", 1.0)) if position == 1.0 else 1.0
        for group in optimizer.param_groups:
            group["lr"] = float(chosen["lr"]) * late * math.pow(10.0, -5 * (1 - position))
        x, y = draw(split, chosen, random)
        loss = functional.cross_entropy(model(x), y)
        descend(optimizer, loss, model.parameters(), float(chosen.get("clip", 0.0)))
        return {"loss/train": loss.detach(), "lr": float(optimizer.param_groups[0]["lr"])}

    def evaluate() -> Mapping[str, float]:
        return tested(model, split, Names(test_loss="loss/val", accuracy="accuracy/val"))

    return Training(model, [optimizer], step, evaluate, float(chosen["lr"]))


LONG_WARMUP = Task(
    name="long_warmup",
    steps=WARMUP_STEPS,
    baseline=CHANCE,
    build=long_warmup,
    arms=[
        Arm("sgd", {}, fails=False),
        Arm("adam", {"optimizer": "adam", "lr": 5e-3}, fails=False),
        Arm("momentum_clipped", {"optimizer": "momentum", "lr": 0.1, "clip": 1.0, "share": 0.8}, fails=False),
        Arm("warmup_never_ends", {"share": 5.0}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_1e-4", {"lr": 1e-4}, fails=True, expected=("frozen", "stuck")),
        Arm("output_detached", {"detached": True}, fails=True, expected=("no_gradient", "stuck")),
        Arm("jump_after_warmup", {"late": 3000.0}, fails=True, expected=("collapsed", "diverged", "oscillating")),
        Arm("shuffled_labels", {"labels": "shuffled"}, fails=True, expected=("stuck", "loss_mismatch")),
    ],
)  # fmt: skip


TASKS = (
    WIDE_MLP,
    NARROW_MLP,
    PLAIN_CNN,
    RESIDUAL_CNN,
    VANILLA_RNN,
    MASKED,
    GPT,
    VAE,
    WGAN,
    ACTOR_CRITIC,
    DISTILLATION,
    LINEAR_PROBE,
    UNFREEZING,
    MEMORISING,
    ACCUMULATION,
    BFLOAT16,
    LONG_WARMUP,
)
