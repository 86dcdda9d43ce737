"""Choose a repair: what is changed, and from which step the trial continues. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.record.derivation import REPAIR, START, Derivation
from sweeper.record.values.params import spelled
from sweeper.rules.repair.failure import Failure
from sweeper.rules.repair.others import new_clip, new_decay, new_warmup, warmup_steps
from sweeper.rules.repair.parameters import ROLES
from sweeper.rules.repair.rates import LARGE_RATIO, MOST_RATE, SMALL_TRAVEL, Example, estimate, example
from sweeper.rules.repair.recipes import Rate
from sweeper.rules.repair.siblings import as_number
from sweeper.rules.repair.situation import NewValue, Situation

HELD = 0.25
"""A repair held if the trial stayed healthy for this share of the plan after the checkpoint that it continued from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRepair:
    """That a trial is not repaired, and why in one sentence."""

    number: int
    diagnosis: str
    reason: str


def proposal(situation: Situation, checkpoints: Mapping[int, str]) -> Derivation | NoRepair:
    """Return how a failed run is tried again, or why no change of a parameter helps.

    Args:
        situation: the failed run, its siblings, and what the sweep allows.
        checkpoints: the names of the run's checkpoints, by the step that they were saved after.
    """
    failure, recipe = situation.failure, situation.recipe
    if reason := recipe.nothing or _hopeless(failure):
        return _none(failure, reason)
    rate, model = _rate(situation)
    if rate is Rate.MEASURED:
        return _none(failure, "its updates have the usual size, and no sibling learned with another learning rate")
    start = _checkpoint(situation, checkpoints) if recipe.goes_back else START
    changes = _changes(situation, rate, model)
    lr = situation.names.lr
    old = as_number(failure.params.get(lr))
    if rate is Rate.UP and model is None and lr in changes and _is_unheard_of(situation, changes[lr].value, old):
        return _none(failure, _too_small(changes[lr].value))
    warmup = situation.names.warmup
    if warmup in changes and start >= warmup_steps(warmup, changes[warmup].value, failure):
        if len(changes) > 1:
            del changes[warmup]  # the longer warmup would have ended before this step
        else:
            start = START
    if not changes:
        return _none(failure, _lacking(situation, rate))
    return Derivation(
        parent=failure.number,
        step=start,
        checkpoint=checkpoints[start] if start != START else "",
        changes={name: _typed(new.value, failure.params.get(name)) for name, new in changes.items()},
        lr_factor=changes[lr].value / old if lr in changes and old and start != START else 1.0,
        by=REPAIR,
        reason=_reason(situation, changes, start),
        diagnosis=failure.diagnosis,
    )


def _none(failure: Failure, reason: str) -> NoRepair:
    return NoRepair(number=failure.number, diagnosis=failure.diagnosis, reason=reason)


def _hopeless(failure: Failure) -> str:
    """Return why no parameter helps this run; empty if one may."""
    if failure.from_start:
        return {
            "vanishing_gradient": "the gradient did not reach the first layers before any update, so the architecture "
            "or the initialization is the cause",
            "no_gradient": "there was no gradient from the start, so the output layer, the loss or the wiring is the "
            "cause",
        }.get(failure.diagnosis, "it held before any large update, so the initialization or the inputs are the cause")
    if failure.diagnosis == "no_gradient" and failure.partial:
        return "only a part of the weights has no gradient, so they are detached or unused"
    if failure.one_network:
        return "only one of several networks stands still, and the learning rate would change the others too"
    return ""


def _is_unheard_of(situation: Situation, needed: float, own: float | None) -> bool:
    """Return whether a learning rate is far above the usual ones, as neither the run's own nor the sweep's are."""
    known = situation.domain(situation.names.lr)
    is_usual = known is not None and known.has(needed)
    return own is not None and own <= MOST_RATE < needed and not is_usual


def _too_small(needed: float) -> str:
    return (
        f"updates of the usual size would need a learning rate of {needed:.2g}, above the {MOST_RATE:g} up to which "
        "one is usually looked for, so the gradient is too small: the loss or the scale of the inputs is the cause"
    )


def _rate(situation: Situation) -> tuple[Rate, Example | None]:
    """Return the direction of the learning rate, and the sibling to follow; `MEASURED` if there is no direction."""
    failure, rate = situation.failure, situation.recipe.rate
    if not situation.names.lr or rate is Rate.KEPT:
        return Rate.DOWN if rate is Rate.MEASURED else rate, None
    if rate is Rate.MEASURED and failure.largest_ratio > LARGE_RATIO:
        rate = Rate.DOWN
    elif rate is Rate.MEASURED and failure.travel < SMALL_TRAVEL:
        rate = Rate.UP
    if rate is not Rate.MEASURED:
        return rate, example(situation, rate)
    known = [(one, side) for side in (Rate.DOWN, Rate.UP) if (one := example(situation, side)) is not None]
    if not known:
        return Rate.MEASURED, None
    best, rate = max(known, key=lambda pair: pair[0].share)
    return rate, best


def _changes(situation: Situation, rate: Rate, model: Example | None) -> dict[str, NewValue]:
    """Return the new value of each parameter that changes, by name."""
    recipe, names = situation.recipe, situation.names
    found = {
        names.lr: _new_rate(situation, rate, model) if recipe.rate is not Rate.KEPT else None,
        names.warmup: new_warmup(situation, model) if recipe.warmup else None,
        names.clip: new_clip(situation) if recipe.clip else None,
        names.weight_decay: new_decay(situation) if recipe.decay else None,
    }
    return {name: new for name, new in found.items() if name and new is not None}


def _new_rate(situation: Situation, rate: Rate, model: Example | None) -> NewValue | None:
    name = situation.names.lr
    own = as_number(situation.failure.params.get(name))
    if own is None or own <= 0:
        return None
    known = None if model is None else as_number(model.params.get(name))
    if model is not None and known is not None:
        return NewValue(value=known, why=model.text())
    return estimate(situation, rate, own)


def _checkpoint(situation: Situation, checkpoints: Mapping[int, str]) -> int:
    """Return the step of the newest healthy checkpoint; `START` if there is none, or the last one did not hold."""
    failure, before = situation.failure, situation.before
    if before is not None and before.step != START and failure.broke - before.step < HELD * failure.total_steps:
        return START
    return max((step for step in checkpoints if 0 <= step <= failure.healthy_until), default=START)


def _typed(value: float, old: object) -> int | float:
    return round(value) if isinstance(old, int) and not isinstance(old, bool) and value == round(value) else value


def _lacking(situation: Situation, rate: Rate) -> str:
    recipe = situation.recipe
    wanted = [
        role
        for role, holds in (
            ("lr", recipe.rate is not Rate.KEPT),
            ("warmup", recipe.warmup),
            ("clip", recipe.clip),
            ("weight_decay", recipe.decay),
        )
        if holds
    ]
    missing = [ROLES[role] for role in wanted if not getattr(situation.names, role)]
    if missing:
        return f"the sweep has no parameter for {' or '.join(missing)}"
    words = " or ".join(ROLES[role] for role in wanted)
    return f"{words} has no value that can be {'raised' if rate is Rate.UP else 'lowered'} any further"


def _reason(situation: Situation, changes: Mapping[str, NewValue], start: int) -> str:
    """Return the story of the repair in one sentence: where it broke, where it goes back to, and what is changed."""
    failure, before = situation.failure, situation.before
    parts, outside = [], []
    for name, new in changes.items():
        old, value = failure.params.get(name), spelled(_typed(new.value, failure.params.get(name)))
        parts.append(f"{name}={value} instead of {spelled(old)} ({new.why})")
        domain = situation.domain(name)
        if domain is not None and not domain.has(new.value):
            outside.append(f"; {name}={value} is outside of the sweep's values ({domain.text})")
    where = "begins again" if start == START else f"goes back to step {start}"
    if start == START and before is not None and before.step != START:
        where = "begins again, because the checkpoint of the last repair did not hold,"
    broke = f"{failure.diagnosis} at step {failure.step}"
    broke += f", broke at about step {failure.broke}" if failure.broke < failure.step else ""
    return f"{broke}: {where} with {', '.join(parts)}{''.join(outside)}"
