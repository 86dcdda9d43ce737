"""Change the state that a derived trial takes over from its parent: the learning rates, and the optimizer's moments.

A script restores its optimizer and its schedulers from the parent's checkpoint, and with them the parent's learning
rates. The parameters of the derived trial alone would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.record.derivation import Derivation

if TYPE_CHECKING:
    import torch

POINTER = "checkpoint"
"""The only key of a checkpoint that points to a library's own one (`integrations.pointer`)."""

NOT_CHANGED = (
    "the checkpoint of the parent has no learning rates or moments of an optimizer, so only the parameters are changed"
)

RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""The learning rates in a parameter group of torch."""

SCHEDULED = ("base_lrs", "_last_lr", "max_lrs", "min_lrs", "eta_min")
"""The learning rates in the state of a scheduler of torch."""

_DEEPEST = 8


def is_needed(derived: Derivation) -> bool:
    """Return whether the state has to be changed at all."""
    return derived.lr_factor != 1 or derived.fresh_optimizer


def is_pointer(state: Mapping[str, Any]) -> bool:
    """Return whether a state only points to a library's own checkpoint."""
    return set(state) == {POINTER} and isinstance(state[POINTER], str)


def changed(state: dict[str, Any], derived: Derivation) -> tuple[dict[str, Any], bool]:
    """Return the state with changed learning rates and moments, and whether it has any.

    An optimizer's state is recognised by `param_groups` and `state`, a scheduler's by `base_lrs`, at any depth.

    Args:
        state: the state that `Trial.save` was given.
        derived: how the trial was derived.
    """
    if not is_needed(derived):
        return state, False
    new, found = _changed(state, derived, _DEEPEST)
    return new, found


def change(optimizers: Sequence[torch.optim.Optimizer], schedulers: Sequence[object], derived: Derivation) -> None:
    """Change optimizers and schedulers that a library has restored, in place."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.update(_scaled(group, RATES, derived.lr_factor))
        if derived.fresh_optimizer:
            optimizer.state.clear()
    for scheduler in schedulers:
        known = vars(scheduler)
        known.update(_scaled(known, SCHEDULED, derived.lr_factor))


def _changed(value: Any, derived: Derivation, depth: int) -> tuple[Any, bool]:  # noqa: ANN401 - any part of a state
    if depth == 0 or not isinstance(value, dict | list | tuple):
        return value, False
    if isinstance(value, list | tuple):
        parts = [_changed(part, derived, depth - 1) for part in value]
        return (type(value)([part for part, _ in parts]), True) if any(found for _, found in parts) else (value, False)
    if isinstance(value.get("param_groups"), list) and isinstance(value.get("state"), dict):
        groups = [{**group, **_scaled(group, RATES, derived.lr_factor)} for group in value["param_groups"]]
        return {**value, "param_groups": groups, "state": {} if derived.fresh_optimizer else value["state"]}, True
    new, found = dict(value), "base_lrs" in value or "min_lrs" in value
    if found:
        new |= _scaled(value, SCHEDULED, derived.lr_factor)
    for name, part in value.items():
        if isinstance(part, dict | list | tuple) and name not in SCHEDULED:
            new[name], inside = _changed(part, derived, depth - 1)
            found = found or inside
    return (new, True) if found else (value, False)


def _scaled(known: Mapping[str, Any], names: Sequence[str], factor: float) -> dict[str, Any]:
    """Return those of the names that are known, with their learning rates, or lists of them, times the factor."""
    rates = {name: known[name] for name in names if name in known and known[name] is not None}
    return {
        name: [one * factor for one in rate] if isinstance(rate, list | tuple) else rate * factor
        for name, rate in rates.items()
    }
