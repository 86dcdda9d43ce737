"""Histories of made-up runs, a step at a time: what a script reports and what the watch observes of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sweeper.record.events import Event, Metrics, Observation, Parameters, Plan, Watching

Curve = Callable[[int], float]
ACTIVE = {"dead": 0.1, "dead_mean": 0.05, "saturated": 0.0, "scale": 1.0, "spread": 0.9, "input_scale": 1.0}


def constant(value: float) -> Curve:
    return lambda _: value


def noisy(curve: Curve, noise: float, seed: int = 0) -> Curve:
    """The curve with Gaussian noise, the same at each call for the same step."""
    return lambda step: curve(step) + noise * random.Random(f"{seed}/{step}").gauss(0, 1)


def falling(start: float, floor: float, rate: float) -> Curve:
    """An exponential from `start` towards `floor`."""
    return lambda step: floor + (start - floor) * math.exp(-rate * step)


ZERO, THOUSANDTH, HUNDREDTH, HALF, ONE = map(constant, (0.0, 1e-3, 1e-2, 0.5, 1.0))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of `steps` steps. Each curve gives a value at a step; `losses` are reported at every step."""

    steps: int = 600
    plan: int | None = 600
    losses: Mapping[str, Curve] = field(default_factory=dict)
    scores: Mapping[str, Curve] = field(default_factory=dict)
    score_every: int = 50
    watched: bool = True
    layers: int = 12
    every: int = 10
    reach: Curve = HALF
    norm: Curve = ONE
    ratio: Curve = HUNDREDTH
    rate: Curve = THOUSANDTH
    missing: int = 0
    not_finite: Curve = ZERO
    skipped: Curve = ZERO
    activations: Mapping[str, float] = field(default_factory=lambda: ACTIVE)
    weights: Mapping[str, Curve] = field(default_factory=dict)
    parameters: Parameters | None = None

    def events(self) -> list[Event]:
        """The history."""
        found: list[Event] = [] if self.plan is None else [Plan(total_steps=self.plan)]
        if self.watched:
            found.append(self.parameters or Parameters(trained=1000, resolution=1.2e-7))
        for step in range(self.steps):
            if self.watched and step % self.every == 0:
                found += [self._watching()] if step == 0 else []
                found.append(self._observation(step))
            if self.losses:
                found.append(Metrics(step=step, values={name: curve(step) for name, curve in self.losses.items()}))
            if self.scores and (step % self.score_every == 0 or step == self.steps - 1):
                found.append(Metrics(step=step, values={name: curve(step) for name, curve in self.scores.items()}))
        return found

    def _watching(self) -> Watching:
        names = tuple(f"layer{i}" for i in range(self.layers))
        return Watching(
            layers=names,
            tensors=tuple(f"{name}.weight" for name in names),
            sizes=(64,) * self.layers,
            layer_of=tuple(range(self.layers)),
            statistics=("grad_norm",),
            every=self.every,
            networks=(0,) * self.layers,
        )

    def _observation(self, step: int) -> Observation:
        return Observation(
            step=step,
            row=step // self.every,
            reach=self.reach(step),
            update_ratio=self.ratio(step),
            learning_rate=self.rate(step),
            gradient_norm=self.norm(step),
            skipped=int(self.skipped(step)),
            missing=self.missing,
            not_finite=int(self.not_finite(step)),
            activations=self.activations,
            weights={name: curve(step) for name, curve in self.weights.items()},
        )
