"""Data, networks and a simulator for the tasks of `tasks_b.py`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.zoo.common import Split, activation_of, digits, initialise, mlp
from benchmarks.zoo.task import Settings

# ---- data ------------------------------------------------------------------------------------------------------------


def scaled(split: Split, scale: float) -> Split:
    """Return the data with its inputs multiplied by `scale`."""
    return replace(split, x=split.x * scale, x_test=split.x_test * scale)


def part_of_digits(first: int, last: int) -> Split:
    """Return the digits from `first` to `last`, with labels that start at 0."""
    whole = digits()
    train, test = (((y >= first) & (y <= last)) for y in (whole.y, whole.y_test))
    return Split(whole.x[train], whole.y[train] - first, whole.x_test[test], whole.y_test[test] - first)


@functools.cache
def intensities() -> tuple[Tensor, Tensor]:
    """Return the images of the digits with values from 0 to 1, for training and for the test."""
    bunch: Any = datasets.load_digits()
    x = torch.tensor(bunch.data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x[500:], x[:500]


@functools.cache
def characters() -> tuple[Tensor, Tensor, int]:
    """Return the descriptions of scikit-learn's data sets as codes, for training and test, and how many codes.

    Every eighth block of 256 characters is in the test. Characters that are rarer than one in 2,000 share one code.
    """
    loaders: tuple[Callable[[], Any], ...] = (
        datasets.load_iris,
        datasets.load_wine,
        datasets.load_digits,
        datasets.load_breast_cancer,
        datasets.load_diabetes,
        datasets.load_linnerud,
    )
    text = "".join(str(load().DESCR) for load in loaders).lower()
    common = sorted(c for c in set(text) if text.count(c) * 2000 >= len(text))
    codes = {c: k + 1 for k, c in enumerate(common)}
    encoded = torch.tensor([codes.get(c, 0) for c in text])
    held_out = torch.arange(len(encoded)) // 256 % 8 == 7
    return encoded[~held_out], encoded[held_out], len(common) + 1


def recall(size: int, length: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences of one-hot tokens, and their first token (one of four); the others are distractors."""
    labels = torch.randint(0, 4, (size,), generator=random)
    tokens = torch.randint(4, 6, (size, length), generator=random)
    tokens[:, 0] = labels
    return functional.one_hot(tokens, 6).float(), labels


def motifs(size: int, length: int, codes: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return sequences that repeat a random motif of three tokens, and a mask of two places in each sequence."""
    motif = torch.randint(1, codes, (size, 3), generator=random)
    tokens = motif.repeat(1, length // 3)
    places = torch.rand(size, length, generator=random).topk(2, 1).indices
    mask = torch.zeros(size, length, dtype=torch.bool).scatter(1, places, value=True)
    return tokens, mask


def ring(size: int, random: torch.Generator) -> Tensor:
    """Return points of eight narrow Gaussians on a circle with radius 2."""
    angles = torch.randint(0, 8, (size,), generator=random) * (math.pi / 4)
    return 2 * torch.stack([angles.cos(), angles.sin()], 1) + 0.1 * torch.randn(size, 2, generator=random)


def sliced_distance(a: Tensor, b: Tensor) -> float:
    """Return the sliced Wasserstein distance of two sets of as many points in the plane."""
    angles = torch.arange(32) * (math.pi / 32)
    directions = torch.stack([angles.cos(), angles.sin()])
    return float(((a @ directions).sort(0).values - (b @ directions).sort(0).values).abs().mean())


# ---- networks --------------------------------------------------------------------------------------------------------


def fill(parameters: Iterable[nn.Parameter], value: float) -> None:
    """Set every element of the parameters to one value."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(value)


class PlainCnn(nn.Module):
    """Convolutions without normalisation, their mean over the image, and a narrow layer before the logits."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, depth = int(settings.get("width", 16)), int(settings.get("depth", 2))
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), activation_of(settings), nn.MaxPool2d(2)]
        for _ in range(depth - 1):
            layers += [nn.Conv2d(width, width, 3, padding=1), activation_of(settings)]
        self.features = nn.Sequential(*layers)
        self.narrow = nn.Linear(width, 6)
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 10))
        self.detached = bool(settings.get("detached", False))
        initialise(self, settings)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 64 to logits."""
        maps: Tensor = self.features(x.view(-1, 1, 8, 8))
        narrow: Tensor = self.narrow(maps.amax((2, 3)))
        logits: Tensor = self.head(narrow.detach() if self.detached else narrow)
        return logits


class Block(nn.Module):
    """A residual block without normalisation; its branch starts at zero."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        fill(self.second.parameters(), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the input."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))


class ResidualCnn(nn.Module):
    """A stem, residual blocks and a linear layer on the mean over the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(
            Block(width, width), nn.MaxPool2d(2), Block(width, 2 * width), Block(2 * width, 2 * width)
        )
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x 64 to logits."""
        maps: Tensor = self.blocks(torch.relu(self.stem(x.view(-1, 1, 8, 8))))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


class Elman(nn.Module):
    """A vanilla RNN with a classifier on its last state."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        hidden = int(settings.get("hidden", 32))
        self.rnn = nn.RNN(6, hidden, nonlinearity=settings.get("activation", "tanh"), batch_first=True)
        self.head = nn.Linear(hidden, 4)
        recurrent = dict(self.rnn.named_parameters())["weight_hh_l0"]
        match settings.get("recurrent", "orthogonal"):
            case "orthogonal":
                nn.init.orthogonal_(recurrent, float(settings.get("gain", 1.0)))
            case "identity":
                nn.init.eye_(recurrent)
            case spread:
                nn.init.normal_(recurrent, 0.0, float(spread))

    def forward(self, x: Tensor) -> Tensor:
        """Map N x time x 6 to logits."""
        states: Tensor = self.rnn(x)[0]
        logits: Tensor = self.head(states[:, -1])
        return logits


class TokenTransformer(nn.Module):
    """A pre-norm transformer that predicts a token at each place, from all places or from those before it."""

    def __init__(self, codes: int, length: int, settings: Settings, *, causal: bool) -> None:
        super().__init__()
        width, layers = int(settings.get("width", 32)), int(settings.get("layers", 2))
        self.tokens = nn.Embedding(codes, width)
        self.positions = nn.Parameter(torch.randn(1, length, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        self.causal = causal

    def forward(self, tokens: Tensor) -> Tensor:
        """Map N x time to N x time x codes."""
        length = tokens.shape[1]
        x: Tensor = self.tokens(tokens) + self.positions[:, :length]
        mask = torch.full((length, length), -math.inf).triu(1) if self.causal else None
        for block in self.blocks:
            x = block(x, src_mask=mask)
        logits: Tensor = self.head(self.norm(x))
        return logits


class Vae(nn.Module):
    """A variational autoencoder with Bernoulli pixels."""

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = mlp([64, hidden, 2 * latent], {})
        self.decoder = mlp([latent, hidden, 64], {})

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the logarithm of the variance of the posterior."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, log_variance

    def forward(self, x: Tensor) -> Tensor:
        """Return the pixels that the mean of the posterior decodes to."""
        pixels: Tensor = torch.sigmoid(self.decoder(self.encode(x)[0]))
        return pixels


class ActorCritic(nn.Module):
    """A policy and a value function on one trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.policy = nn.Linear(width, 2)
        self.value = nn.Linear(width, 1)
        with torch.no_grad():
            self.policy.weight.mul_(0.1)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Map states to the logits of the actions and to the values."""
        hidden = self.trunk(states)
        return self.policy(hidden), self.value(hidden)[..., 0]


# ---- a simulator -----------------------------------------------------------------------------------------------------

EPISODE = 100
"""The length at which an episode of the cart-poles ends."""


class CartPoles:
    """Cart-poles side by side, with the physics of Barto, Sutton and Anderson (1983); one that falls starts again."""

    def __init__(self, count: int, random: torch.Generator) -> None:
        self.random = random
        self.state = self.fresh(count)
        self.age = torch.zeros(count)

    def fresh(self, count: int) -> Tensor:
        """Return states near the upright one."""
        return 0.1 * torch.rand(count, 4, generator=self.random) - 0.05

    def act(self, actions: Tensor) -> Tensor:
        """Push each cart left (0) or right (1), and return which episodes ended."""
        x, speed, angle, turn = self.state.unbind(1)
        cos, sin = angle.cos(), angle.sin()
        push = (20.0 * actions - 10.0 + 0.05 * turn**2 * sin) / 1.1
        turn_rate = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        acceleration = push - 0.05 * turn_rate * cos / 1.1
        moved = (x + 0.02 * speed, speed + 0.02 * acceleration, angle + 0.02 * turn, turn + 0.02 * turn_rate)
        self.state = torch.stack(moved, 1)
        self.age += 1
        ended = (self.state[:, 0].abs() > 2.4) | (self.state[:, 2].abs() > 0.2095) | (self.age >= EPISODE)
        self.state = torch.where(ended[:, None], self.fresh(len(ended)), self.state)
        self.age[ended] = 0
        return ended
