"""The learning rate of a repair: what siblings learned with, or else what the updates of the run say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sweeper.rules.repair.domain import Domain
from sweeper.rules.repair.recipes import Rate
from sweeper.rules.repair.siblings import Sibling, as_number, is_alike, is_near
from sweeper.rules.repair.situation import NewValue, Situation

HEALTHY_RATIO, LARGE_RATIO = 0.026, 0.15
"""The largest update of a healthy run, as a share of the weights: the median, and what 95% stay below."""
LOW_RATIO = 0.011
"""What it is above in three of four healthy runs."""
SMALL_TRAVEL = 0.06
"""The travel of a healthy run: what 95% stay above.

These four were measured on the 249 healthy runs of the first half of the zoo (`benchmarks/zoo/tasks_a.py`).
"""
HALF = 0.5
"""A learning rate of a sibling is tried if it is at most this share of the failed one, or at least its inverse."""
LEAST_SHARE = 0.5
"""At least this share of the siblings at a learning rate has to have learned."""
AT_ONCE, SOON = 0.01, 0.05
"""The factor for a run that is no longer finite within this share of the plan, before its updates were measured."""
AT_BREAK, MOST_AT_BREAK = 0.75, 0.5
"""A run that broke in its warmup gets this share of the rate that it had reached, and at most half of its peak.

Recorded BERT runs with even seeds broke at about the same learning rate whatever their peak was: the median of 22 is
3.7e-4, at peaks of 3e-4 to 1.2e-3 (`benchmarks/repairs/onsets.py`). A third of a low peak is far below it.
"""
LEAST_UP, LEAST_UP_AGAIN = 3.0, 10.0
LEAST_RATE, MOST_RATE = 1e-8, 10.0
"""Where tests for a learning rate look for one: from 1e-8 (the default of Lightning) to 10 (that of fastai)."""
STEPS = 4
"""How often a learning rate is moved on because siblings failed with it."""
TOO_FAR = 3.0
"""A value of the domain is taken if it is no further than this factor from the one that was aimed at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A sibling that learned, with the count of how many did with about its learning rate.

    Attributes:
        params: its parameters.
        learned: siblings with about its learning rate that learned.
        count: siblings with about its learning rate.
    """

    params: Mapping[str, object]
    learned: int
    count: int

    @property
    def share(self) -> float:
        """The share that learned, drawn towards a half where there are few."""
        return (self.learned + 1) / (self.count + 2)

    def text(self) -> str:
        """Return how many learned, in words."""
        return f"{self.learned} of {self.count} siblings learned with it"


def example(situation: Situation, rate: Rate) -> Example | None:
    """Return the sibling from which a repair takes its learning rate: that at which most learned, then the nearest.

    Args:
        situation: the failed run and its siblings.
        rate: whether the learning rate has to be lower or higher.
    """
    own = as_number(situation.failure.params.get(situation.names.lr))
    if own is None or own <= 0:
        return None
    alike = _alike(situation)
    found: list[tuple[float, float, Example]] = []
    for value, one in alike:
        if not one.learned or not _is_beyond(value, own, rate):
            continue
        others = [name for name in situation.names.names if name != situation.names.lr]
        there = [
            other.learned
            for near, other in alike
            if is_near(near, value) and all(_same(other.params, one.params, name) for name in others)
        ]
        known = Example(params=one.params, learned=sum(there), count=len(there))
        if known.learned >= LEAST_SHARE * known.count:
            found.append((known.share, value if rate is Rate.DOWN else -value, known))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _alike(situation: Situation) -> list[tuple[float, Sibling]]:
    """Return the siblings with comparable other parameters, each with its learning rate."""
    failure, names = situation.failure, situation.names
    return [
        (value, one)
        for one in situation.siblings
        if one.number != failure.number
        and (value := as_number(one.params.get(names.lr))) is not None
        and is_alike(one.params, failure.params, names.names)
    ]


def _is_beyond(value: float, own: float, rate: Rate) -> bool:
    slack = 1 + 1e-9
    return value <= HALF * own * slack if rate is Rate.DOWN else value >= own / HALF / slack


def _same(one: Mapping[str, object], other: Mapping[str, object], name: str) -> bool:
    a, b = as_number(one.get(name)), as_number(other.get(name))
    return one.get(name) == other.get(name) or (a is not None and b is not None and a * b > 0 and is_near(a, b))


def estimate(situation: Situation, rate: Rate, own: float) -> NewValue:
    """Return the learning rate that the size of the run's updates asks for, past those at which siblings failed.

    Args:
        situation: the failed run and its siblings.
        rate: whether the learning rate has to be lower or higher.
        own: the learning rate of the run.
    """
    factor, why = _lower(situation, own) if rate is Rate.DOWN else _higher(situation)
    new = NewValue(value=own * factor, why=why or _times(factor))
    new = _beyond_failed(situation, new, rate)
    return replace(new, value=settled(new.value, situation.domain(situation.names.lr), down=rate is Rate.DOWN))


def _times(factor: float) -> str:
    known = {round(1 / 3, 3): "a third of it", 0.1: "a tenth of it"}
    return known.get(round(factor, 3), f"{factor:.2g} times as high")


def _lower(situation: Situation, own: float) -> tuple[float, str]:
    factor, ratio, why = situation.recipe.blunt, situation.failure.largest_ratio, ""
    if ratio > LARGE_RATIO and own * HEALTHY_RATIO / ratio < LEAST_RATE:  # it exploded; that does not say how far
        factor, why = AT_ONCE, f"a hundredth of it, because an update was {ratio:.2g} times the weights"
    elif ratio > LARGE_RATIO:
        factor = min(1 / 3, HEALTHY_RATIO / ratio)
        why = f"an update was {ratio:.2g} times the weights, and is at most {HEALTHY_RATIO:g} times in half of all "
        why += "healthy runs"
    elif situation.recipe.is_of_flow and situation.failure.ramp > 0:
        factor = min(MOST_AT_BREAK, AT_BREAK * situation.failure.ramp)
        why = f"it broke in the warmup, at {situation.failure.ramp:.2g} of its peak"
    failure = situation.failure
    if failure.diagnosis == "non_finite" and failure.broke <= SOON * failure.total_steps and factor > AT_ONCE:
        factor, why = AT_ONCE, "a hundredth of it, because nothing was finite after a few updates"
    if situation.depth and factor > situation.recipe.blunt:
        factor, why = situation.recipe.blunt, "the last repair was not enough"
    return factor, why


def _higher(situation: Situation) -> tuple[float, str]:
    factor, ratio, why = situation.recipe.blunt, situation.failure.peak_ratio, ""
    if ratio > 0:
        factor = LOW_RATIO / ratio
        why = f"an update is at most {ratio:.1e} times the weights, and more than {LOW_RATIO:g} times in three of four "
        why += "healthy runs"
    least = LEAST_UP_AGAIN if situation.depth else LEAST_UP
    return max(least, factor), why


def _beyond_failed(situation: Situation, new: NewValue, rate: Rate) -> NewValue:
    """Return the value moved on past the learning rates at which siblings failed and none learned."""
    alike, value = _alike(situation), new.value
    for _ in range(STEPS):
        there = [one.learned for known, one in alike if known * value > 0 and is_near(known, value)]
        if not there or any(there):
            break
        value = value / 3 if rate is Rate.DOWN else value * 3
    return new if value == new.value else NewValue(value=value, why=f"{new.why}; siblings failed at a value between")


def settled(value: float, domain: Domain | None, *, down: bool) -> float:
    """Return the nearest value of the domain beyond `value`, or `value` with two digits if there is none near it."""
    rounded = float(f"{value:.2g}")
    if domain is None:
        return rounded
    inside = domain.below(value * (1 + 1e-9)) if down else domain.above(value * (1 - 1e-9))
    if inside is not None and inside * value > 0 and max(inside / value, value / inside) <= TOO_FAR:
        return rounded if domain.has(rounded) and is_near(rounded, inside) and not domain.values else inside
    return float(round(rounded)) if domain.whole and rounded >= 1 else rounded
