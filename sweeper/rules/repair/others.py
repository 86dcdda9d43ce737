"""The warmup, the clipping and the weight decay of a repair."""

from __future__ import annotations

import math
import re

from sweeper.rules.repair.failure import Failure
from sweeper.rules.repair.rates import Example, settled
from sweeper.rules.repair.siblings import as_number
from sweeper.rules.repair.situation import NewValue, Situation

LONGER = 3.0
"""The factor by which a warmup gets longer."""
MOST, MOST_AGAIN = 0.5, 0.7
"""The longest warmup of a first and of a later repair, as a share of the plan."""
FIRST_WARMUP = 0.1
"""The warmup of a run that had none, as a share of the plan."""
SOON = 1.5
"""A run broke in its warmup or soon after it if it broke within this multiple of the warmup."""
EARLY = 0.1
"""The same for a run with a shorter warmup or none, as a share of the plan."""
QUANTILE, FEWEST = 0.9, 5
"""Gradients are clipped at this quantile of the healthy norms, if there are at least so many of these."""
USUAL_CLIP = 1.0
DECAY, DECAY_AGAIN = 0.1, 0.01
"""The factors of the weight decay in a first and in a later repair."""

_SHARES, _STEPS, _EPOCHS = ("ratio", "fraction", "frac", "share", "proportion"), ("steps", "iters"), ("epochs",)


def _unit(name: str, value: float) -> str:
    """Return the unit of a warmup: `share`, `steps` or `epochs`, by the name and else by the value."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    for unit, known in (("share", _SHARES), ("steps", _STEPS), ("epochs", _EPOCHS)):
        if words & set(known):
            return unit
    return "steps" if value > 1 else "share"


def warmup_steps(name: str, value: float, failure: Failure) -> float:
    """Return the length of a warmup in steps; infinity if it is counted in epochs, as their length is not recorded."""
    match _unit(name, value):
        case "share":
            return value * failure.total_steps
        case "steps":
            return value
        case _:
            return math.inf


def new_warmup(situation: Situation, model: Example | None) -> NewValue | None:
    """Return a longer warmup; None if the run did not break in its warmup or soon after it, or if it is long already.

    Args:
        situation: the failed run and its siblings.
        model: the sibling from which the learning rate is taken over, and then its warmup too.
    """
    failure, name = situation.failure, situation.names.warmup
    own = as_number(failure.params.get(name))
    if own is None or own < 0:
        return None
    unit, length = _unit(name, own), warmup_steps(name, own, failure)
    if math.isfinite(length) and failure.broke > max(SOON * length, EARLY * failure.total_steps):
        return None
    if model is not None:
        known = as_number(model.params.get(name))
        return NewValue(value=known, why="as these siblings had it") if known is not None and known > own else None
    whole = {"share": 1.0, "steps": float(failure.total_steps), "epochs": math.inf}[unit]
    most = (MOST_AGAIN if situation.depth else MOST) * whole
    least = 1.0 if unit == "epochs" else FIRST_WARMUP * whole
    value = min(most, max(LONGER * own, least))
    if not value > own:
        return None
    value = min(settled(value, situation.domain(name), down=False), MOST_AGAIN * whole)
    return NewValue(value=float(round(value)) if unit != "share" else value, why="it broke in the warmup or soon after")


def new_clip(situation: Situation) -> NewValue | None:
    """Return a lower norm to clip the gradient at: the 0.9 quantile of the run's norms while it was healthy.

    Returns:
        None if the gradient is clipped at less already.
    """
    failure, name = situation.failure, situation.names.clip
    own = as_number(failure.params.get(name))
    if own is None and failure.params.get(name) is not None:
        return None
    is_off = own is None or own <= 0
    norms = sorted(failure.norms)
    if len(norms) >= FEWEST:
        value = norms[min(len(norms) - 1, math.floor(QUANTILE * len(norms)))]
        why = f"{QUANTILE:.0%} of the norms were lower while the run was healthy"
    elif is_off:
        value, why = USUAL_CLIP, "the usual value, because there are too few healthy norms to go by"
    else:
        return None
    value = settled(value, situation.domain(name), down=True)
    return NewValue(value=value, why=why) if value > 0 and (own is None or own <= 0 or value < own) else None


def new_decay(situation: Situation) -> NewValue | None:
    """Return a lower weight decay; None if it is 0 already."""
    name = situation.names.weight_decay
    own = as_number(situation.failure.params.get(name))
    if own is None or own <= 0:
        return None
    factor = DECAY_AGAIN if situation.depth else DECAY
    return NewValue(value=settled(own * factor, situation.domain(name), down=True), why=f"{factor:g} times as high")
