"""Trainings without one loss that falls: a GAN, an actor-critic and contrastive learning."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.common import Call, descend, digits, generator, initialise, mlp, optimizer_of, peak_of, set_rate
from benchmarks.zoo.task import Arm, Logged, Settings, Task, Training

# ---- a GAN -----------------------------------------------------------------------------------------------------------

GAN_STEPS = 800
MODES = 8
NEAR = 0.3
"""A sample within this distance of a mode's centre belongs to it; the modes' deviation is 0.1."""


def ring(size: int, random: torch.Generator) -> Tensor:
    """Return samples of eight Gaussians on a circle of radius 2."""
    angles = torch.randint(0, MODES, (size,), generator=random) * (2 * math.pi / MODES)
    return 2 * torch.stack([angles.cos(), angles.sin()], 1) + 0.1 * torch.randn(size, 2, generator=random)


def covered(samples: Tensor) -> tuple[float, float]:
    """Return the share of the modes that have a quarter of their due samples, and the share of samples near a mode."""
    angles = torch.arange(MODES) * (2 * math.pi / MODES)
    near = torch.cdist(samples, 2 * torch.stack([angles.cos(), angles.sin()], 1)) < NEAR
    return float((near.float().mean(0) >= 0.25 / MODES).float().mean()), float(near.any(1).float().mean())


def gan(settings: Settings, seed: int) -> Training:
    """A GAN on a ring of Gaussians; each network has its own optimizer."""
    random = generator(seed)
    chosen = {
        "optimizer": "adam",
        "g_lr": 1e-3,
        "d_lr": 1e-3,
        "width": 96,
        "batch": 128,
        "smooth": 0.1,
        "noise": 1.0,
        **settings,
    }
    width, batch, latent = int(chosen["width"]), int(chosen["batch"]), 8
    generate = mlp([latent, width, width, 2], {})
    judge = mlp([2, width, width, 1], {"activation": "leaky"})
    model = nn.ModuleDict({"generator": generate, "discriminator": judge})

    def adam(network: nn.Module, lr: float) -> torch.optim.Optimizer:
        if chosen["optimizer"] == "adam":
            return torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.99))
        return optimizer_of({**chosen, "lr": lr}, network.parameters())

    g_optimizer, d_optimizer = adam(generate, float(chosen["g_lr"])), adam(judge, float(chosen["d_lr"]))
    log_loss = functional.binary_cross_entropy_with_logits
    averaged = copy.deepcopy(generate)
    noise = float(chosen.get("noise", 0.0))

    def step(i: int) -> Logged:
        for optimizer in (g_optimizer, d_optimizer):
            set_rate(optimizer, chosen, i, GAN_STEPS)
        real, fake = ring(batch, random), generate(torch.randn(batch, latent, generator=random))
        blur = noise * (1 - i / GAN_STEPS)
        real = real + blur * torch.randn(real.shape, generator=random)
        fake = fake + blur * torch.randn(fake.shape, generator=random)
        yes, no = torch.ones(batch, 1), torch.zeros(batch, 1)
        smooth = float(chosen.get("smooth", 0.0))
        d_loss = log_loss(judge(real), yes * (1 - smooth)) + log_loss(judge(fake.detach()), no)
        if chosen.get("judge_detached"):
            d_loss = d_loss.detach().requires_grad_()
        descend(d_optimizer, d_loss, [], 0.0)
        if chosen.get("generator_detached"):
            fake = fake.detach()
        g_loss = log_loss(judge(fake), yes)
        descend(g_optimizer, g_loss, [], 0.0)
        with torch.no_grad():
            for average, current in zip(averaged.parameters(), generate.parameters(), strict=True):
                average.lerp_(current, 0.03)
        return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}

    def evaluate() -> Mapping[str, float]:
        with torch.no_grad():
            samples = averaged(torch.randn(1000, latent, generator=torch.Generator().manual_seed(1)))
        share, near = covered(samples)
        return {"score/test": share, "modes": share * MODES, "quality": near}

    peak = max(float(chosen["g_lr"]), float(chosen["d_lr"]))
    return Training(model, [d_optimizer, g_optimizer], step, evaluate, peak)


GAN = Task(
    name="gan",
    steps=GAN_STEPS,
    baseline=1 / MODES,
    build=gan,
    evaluate_every=100,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("two_time_scales", {"g_lr": 1e-3, "d_lr": 2e-3, "noise": 0.5}, fails=False),
        Arm("narrow", {"width": 64, "noise": 0.5}, fails=False),
        Arm("discriminator_lr_high", {"d_lr": 1.0}, fails=True, expected=("collapsed", "no_gradient", "diverged")),
        Arm("generator_detached", {"generator_detached": True}, fails=True,
            expected=("no_gradient", "frozen", "unused_parameters")),
        Arm("generator_lr_tiny", {"g_lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("generator_lr_high", {"g_lr": 1.0}, fails=True, expected=("collapsed", "diverged", "dead_units")),
        Arm("discriminator_frozen", {"d_lr": 1e-9}, fails=True, expected=("frozen", "collapsed", "stuck")),
    ],
)  # fmt: skip


# ---- an actor and a critic -------------------------------------------------------------------------------------------

PPO_STEPS = 600
POLES, HORIZON, UPDATES = 32, 32, 8
"""Cart-poles side by side, steps of a rollout, and optimizer steps on each rollout."""
LONGEST = 200


def advance(state: Tensor, action: Tensor) -> Tensor:
    """Return the next states of cart-poles (Barto, Sutton and Anderson 1983; the constants are those of Gym)."""
    x, dx, angle, spin = state.unbind(1)
    force, cos, sin = 20.0 * action - 10.0, angle.cos(), angle.sin()
    push = (force + 0.05 * spin**2 * sin) / 1.1
    angular = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    linear = push - 0.05 * angular * cos / 1.1
    return torch.stack([x + 0.02 * dx, dx + 0.02 * linear, angle + 0.02 * spin, spin + 0.02 * angular], 1)


def fallen(state: Tensor) -> Tensor:
    """Return which poles have fallen or left the track."""
    return (state[:, 0].abs() > 2.4) | (state[:, 2].abs() > 0.2095)


def started(size: int, random: torch.Generator) -> Tensor:
    """Return states of new episodes."""
    return 0.1 * torch.rand(size, 4, generator=random) - 0.05


class ActorCritic(nn.Module):
    """A policy and a value function without common layers."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = int(settings.get("width", 64))
        self.actor = mlp([4, width, width, 2], {"activation": "tanh"})
        self.critic = mlp([4, width, width, 1], {"activation": "tanh"})
        initialise(self, settings)
        with torch.no_grad():
            [*self.actor.parameters()][-2].mul_(0.01)  # the last layer's weight: at first all actions are as likely

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithms of the actions' probabilities, and the value."""
        return self.actor(state).log_softmax(-1), self.critic(state)[..., 0]


@dataclass
class Rollout:
    """What was seen in one rollout, HORIZON x POLES each, flattened once it is complete."""

    states: list[Tensor] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    chances: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    rewards: list[Tensor] = field(default_factory=list)
    ends: list[Tensor] = field(default_factory=list)

    def advantages(self, last_value: Tensor, discount: float = 0.98, trace: float = 0.95) -> Tensor:
        """Return the generalised advantage estimates."""
        total, found, following = torch.zeros(POLES), [], last_value
        for value, reward, end in zip(self.values[::-1], self.rewards[::-1], self.ends[::-1], strict=True):
            going = 1.0 - end
            total = reward + discount * following * going - value + discount * trace * going * total
            found.append(total)
            following = value
        return torch.stack(found[::-1])


class Poles:
    """Cart-poles that are played by a policy and start again where they end."""

    def __init__(self, model: ActorCritic, random: torch.Generator, *, sign: float) -> None:
        self.model, self.random, self.sign = model, random, sign
        self.state = started(POLES, random)
        self.age = torch.zeros(POLES)
        self.lengths: list[float] = []

    def play(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Play a rollout; return states, actions, log probabilities, advantages and returns."""
        seen = Rollout()
        with torch.no_grad():
            for _ in range(HORIZON):
                chances, value = self.model(self.state)
                action = torch.multinomial(chances.exp().nan_to_num(0.5), 1, generator=self.random)[:, 0]
                seen.states.append(self.state)
                seen.actions.append(action)
                seen.chances.append(chances.gather(1, action[:, None])[:, 0])
                seen.values.append(value)
                self.state, self.age = advance(self.state, action.float()), self.age + 1
                ended = fallen(self.state) | (self.age >= LONGEST)
                seen.rewards.append(torch.full((POLES,), self.sign))
                seen.ends.append(ended.float())
                self.lengths += self.age[ended].tolist()
                self.state = torch.where(ended[:, None], started(POLES, self.random), self.state)
                self.age = self.age * ~ended
            advantages = seen.advantages(self.model(self.state)[1])
            returns = advantages + torch.stack(seen.values)
        return (
            torch.cat(seen.states),
            torch.cat(seen.actions),
            torch.cat(seen.chances),
            advantages.flatten(),
            returns.flatten(),
        )


def mean_length(model: ActorCritic) -> float:
    """Return the mean length of sixteen episodes in which the policy's actions are drawn."""
    random = torch.Generator().manual_seed(1)
    state, alive, total = started(16, random), torch.ones(16), 0.0
    with torch.no_grad():
        for _ in range(LONGEST):
            chances = model.actor(state).log_softmax(-1).exp().nan_to_num(0.5)
            state = advance(state, torch.multinomial(chances, 1, generator=random)[:, 0].float())
            total += float(alive.sum())
            alive = alive * ~fallen(state)
            if not alive.any():
                break
    return total / 16


def actor_critic(settings: Settings, seed: int) -> Training:
    """PPO on cart-poles; an actor and a critic without common layers have one optimizer."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, "entropy": 0.01, **settings}
    model = ActorCritic(chosen)
    poles = Poles(model, random, sign=float(chosen.get("sign", 1.0)))
    parameters = [*model.parameters()]
    optimizer = optimizer_of(chosen, parameters)
    rollout = poles.play()

    def step(i: int) -> Logged:
        nonlocal rollout
        set_rate(optimizer, chosen, i, PPO_STEPS)
        if i and i % UPDATES == 0:
            rollout = poles.play()
        picked = torch.randperm(POLES * HORIZON, generator=random)[: POLES * HORIZON // 4]
        states, actions, before, advantages, returns = (part[picked] for part in rollout)
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
        chances, values = model(states)
        ratio = (chances.gather(1, actions[:, None])[:, 0] - before).exp()
        policy_loss = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
        value_loss = functional.mse_loss(values, returns)
        entropy = -(chances.exp() * chances).sum(1).mean()
        if chosen.get("policy_detached"):
            policy_loss = policy_loss.detach()
        loss = policy_loss + float(chosen.get("value_weight", 0.1)) * value_loss - float(chosen["entropy"]) * entropy
        descend(optimizer, loss, parameters, float(chosen.get("clip", 0.5)))
        recent = poles.lengths[-32:]
        return {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "episode_length": sum(recent) / len(recent) if recent else 0.0,
        }

    def evaluate() -> Mapping[str, float]:
        length = mean_length(model)
        return {"score/test": length / LONGEST, "eval/return": length}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, PPO_STEPS))


ACTOR_CRITIC = Task(
    name="separate_actor_critic",
    steps=PPO_STEPS,
    baseline=0.11,
    build=actor_critic,
    evaluate_every=100,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("linear_decay", {"lr": 3e-3, "schedule": "linear"}, fails=False),
        Arm("rmsprop_wide", {"optimizer": "rmsprop", "lr": 1e-3, "width": 96}, fails=False),
        Arm("lr_1e-7", {"lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_1", {"lr": 1.0}, fails=True, expected=("collapsed", "saturated", "diverged")),
        Arm("reward_sign_flipped", {"sign": -1.0}, fails=True, expected=("loss_mismatch", "collapsed", "stuck")),
        Arm("entropy_weight_high", {"entropy": 100.0}, fails=True, expected=("stuck", "loss_mismatch")),
        Arm("policy_detached", {"policy_detached": True, "entropy": 0.0}, fails=True,
            expected=("no_gradient", "frozen", "unused_parameters")),
    ],
)  # fmt: skip


# ---- contrastive learning --------------------------------------------------------------------------------------------

CONTRASTIVE_STEPS = 300
HIDDEN = 0.35
"""The share of an image's pixels that a view does not show."""


def view(x: Tensor, random: torch.Generator) -> Tensor:
    """Return images with a part of their pixels hidden, and with noise."""
    kept = torch.rand(x.shape, generator=random) > HIDDEN
    return x * kept + 0.3 * torch.randn(x.shape, generator=random)


def retrieved(encode: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return how often the other view of an image is among the five nearest, and the embedding's spread (0 to 1)."""
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        one, two = (functional.normalize(encode(view(x, random)), dim=1) for _ in range(2))
        similar = one @ two.T
        found = (similar.topk(5).indices == torch.arange(len(x))[:, None]).any(1) & similar.isfinite().all(1)
        return float(found.float().mean()), float(one.std(0).mean() * one.shape[1] ** 0.5)


def contrastive(settings: Settings, seed: int) -> Training:
    """Two views of each digit; SimCLR's loss (`method: simclr`), or SimSiam's (`method: simsiam`)."""
    random = generator(seed)
    chosen = {"optimizer": "adam", "lr": 2e-3, "temperature": 0.2, "batch": 128, "method": "simclr", **settings}
    width, size, split = int(chosen.get("width", 128)), 32, digits()
    encode = nn.Sequential(
        nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, size), *([nn.BatchNorm1d(size, affine=False)] if chosen["method"] == "simsiam" else []),
    )  # fmt: skip
    predict = nn.Sequential(nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, size))
    model = nn.ModuleDict(
        {"encoder": encode, "predictor": predict} if chosen["method"] == "simsiam" else {"encoder": encode}
    )
    stop = (lambda x: x) if chosen.get("no_stop_gradient") else torch.Tensor.detach
    if chosen.get("encoder_detached"):
        encode.append(Call(lambda x: x.detach().requires_grad_()))
    parameters = [*model.parameters()]
    optimizer = optimizer_of(chosen, parameters)
    batch = int(chosen["batch"])

    def simclr(one: Tensor, two: Tensor) -> Tensor:
        both = functional.normalize(torch.cat([one, two]), dim=1)
        similar = (both @ both.T / float(chosen["temperature"])).fill_diagonal_(-1e9)
        return functional.cross_entropy(similar, torch.arange(2 * batch).roll(batch))

    def simsiam(one: Tensor, two: Tensor) -> Tensor:
        near = functional.cosine_similarity
        return -(near(predict(one), stop(two)) + near(predict(two), stop(one))).mean() / 2

    def step(i: int) -> Logged:
        model.train()
        set_rate(optimizer, chosen, i, CONTRASTIVE_STEPS)
        x = split.x[torch.randint(0, len(split.x), (batch,), generator=random)]
        one = encode(view(x, random))
        other = x[torch.randperm(batch, generator=random)] if chosen.get("pairs") == "shuffled" else x
        two = encode(view(other, random))
        loss = (simclr if chosen["method"] == "simclr" else simsiam)(one, two)
        descend(optimizer, loss, parameters, 0.0)
        return {"loss/contrastive": loss.detach()}

    def evaluate() -> Mapping[str, float]:
        model.eval()
        score, spread = retrieved(encode, split.x_test)
        return {"score/test": score, "retrieval": score, "spread": spread}

    return Training(model, [optimizer], step, evaluate, peak_of(chosen, CONTRASTIVE_STEPS))


SIMCLR = Task(
    name="simclr",
    steps=CONTRASTIVE_STEPS,
    baseline=0.13,
    build=contrastive,
    arms=[
        Arm("adam", {}, fails=False),
        Arm("wide_cosine", {"width": 192, "lr": 4e-3, "schedule": "cosine"}, fails=False),
        Arm("momentum", {"optimizer": "momentum", "lr": 0.1}, fails=False),
        Arm("temperature_high", {"temperature": 1e6}, fails=True, expected=("stuck", "no_gradient", "frozen")),
        Arm("shuffled_pairs", {"pairs": "shuffled"}, fails=True, expected=("stuck", "collapsed")),
        Arm("lr_high", {"optimizer": "momentum", "lr": 1000.0}, fails=True,
            expected=("collapsed", "diverged", "dead_units")),
        Arm("lr_1e-8", {"lr": 1e-8}, fails=True, expected=("frozen", "stuck")),
        Arm("encoder_detached", {"encoder_detached": True}, fails=True, expected=("no_gradient", "frozen", "stuck")),
    ],
)  # fmt: skip

SIAM = {"method": "simsiam", "optimizer": "momentum", "lr": 0.2, "batch": 256}
SIMSIAM = Task(
    name="simsiam",
    steps=CONTRASTIVE_STEPS,
    baseline=0.13,
    build=contrastive,
    arms=[
        Arm("momentum", SIAM, fails=False),
        Arm("momentum_cosine", {**SIAM, "schedule": "cosine"}, fails=False),
        Arm("momentum_decay", {**SIAM, "lr": 0.1, "weight_decay": 5e-4}, fails=False),
        Arm("no_stop_gradient", {**SIAM, "no_stop_gradient": True}, fails=True, expected=("collapsed",)),
        Arm("no_stop_gradient_adam", {**SIAM, "optimizer": "adam", "lr": 2e-2, "no_stop_gradient": True}, fails=True,
            expected=("collapsed",)),
        Arm("lr_1e-7", {**SIAM, "lr": 1e-7}, fails=True, expected=("frozen", "stuck")),
        Arm("lr_high", {**SIAM, "lr": 1e5}, fails=True, expected=("collapsed", "diverged", "oscillating")),
        Arm("shuffled_pairs", {**SIAM, "pairs": "shuffled"}, fails=True, expected=("collapsed", "stuck")),
    ],
)  # fmt: skip

TASKS = (GAN, ACTOR_CRITIC, SIMCLR, SIMSIAM)
