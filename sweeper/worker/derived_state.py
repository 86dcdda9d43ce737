"""Change the state that a derived trial takes over from its parent: the learning rates, and the optimizer's moments.

A script restores its optimizer and its schedulers from the parent's checkpoint, and with them the parent's learning
rates. The parameters of the derived trial alone would change nothing. The same holds for the settings of the optimizer
that torch keeps beside the learning rate, such as the weight decay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from sweeper.record.derivation import Derivation

if TYPE_CHECKING:
    import torch

POINTER = "checkpoint"
"""The only key of a checkpoint that points to a library's own one (`integrations.pointer`)."""

NOT_CHANGED = (
    "the checkpoint of the parent has no learning rates or moments of an optimizer, so only the parameters are changed"
)

RATES = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
"""The learning rates in a parameter group of torch."""

SCHEDULED = ("base_lrs", "_last_lr", "max_lrs", "min_lrs", "eta_min")
"""The learning rates in the state of a scheduler of torch."""

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "weight_decay": ("weight_decay", "wd", "l2"),
    "momentum": ("momentum", "sgd_momentum"),
    "eps": ("eps", "adam_eps", "adam_epsilon"),
}
"""The settings of a parameter group that a parameter of the trial changes, by the usual names of that parameter."""

BETAS = (("beta1", "adam_beta1"), ("beta2", "adam_beta2"))
"""The usual names of the parameters that are the two parts of `betas`."""

_CYCLIC = ("max_momentum", "base_momentum")
"""A parameter group with one of these has its momentum from a scheduler."""

_DEEPEST = 8


def is_needed(derived: Derivation) -> bool:
    """Return whether the state has to be changed at all."""
    return derived.lr_factor != 1 or derived.fresh_optimizer or bool(_settings(derived))


def is_pointer(state: Mapping[str, Any]) -> bool:
    """Return whether a state only points to a library's own checkpoint."""
    return set(state) == {POINTER} and isinstance(state[POINTER], str)


def changed(state: dict[str, Any], derived: Derivation) -> tuple[dict[str, Any], bool]:
    """Return the state with changed learning rates, settings and moments, and whether it has any.

    An optimizer's state is recognised by `param_groups` and `state`, a scheduler's by `base_lrs` or `_last_lr`, at any
    depth.

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
        settings = _settings_for(optimizer.param_groups, derived)
        for group, own in zip(optimizer.param_groups, settings, strict=True):
            group.update({**_scaled(group, RATES, derived.lr_factor), **own})
        if derived.fresh_optimizer:
            optimizer.state.clear()
    for scheduler in schedulers:
        _change_scheduler(scheduler, derived.lr_factor, _DEEPEST)


def _change_scheduler(scheduler: object, factor: float, depth: int) -> None:
    """Change a scheduler, and those inside of it: `SequentialLR` and the wrapper of accelerate have some."""
    known = getattr(scheduler, "__dict__", None)
    if known is None or depth == 0:
        return
    known.update(_scaled(known, SCHEDULED, factor))
    inside = known.get("_schedulers") or known.get("scheduler")
    for one in inside if isinstance(inside, list | tuple) else [inside]:
        _change_scheduler(one, factor, depth - 1)


def _changed(value: Any, derived: Derivation, depth: int) -> tuple[Any, bool]:  # noqa: ANN401 - any part of a state
    if depth == 0 or not isinstance(value, dict | list | tuple):
        return value, False
    if isinstance(value, list | tuple):
        parts = [_changed(part, derived, depth - 1) for part in value]
        return (type(value)([part for part, _ in parts]), True) if any(found for _, found in parts) else (value, False)
    groups = value.get("param_groups")
    if _are_groups(groups) and isinstance(value.get("state"), dict):
        settings = _settings_for(groups, derived)
        new_groups = [
            {**group, **_scaled(group, RATES, derived.lr_factor), **own}
            for group, own in zip(groups, settings, strict=True)
        ]
        return {**value, "param_groups": new_groups, "state": {} if derived.fresh_optimizer else value["state"]}, True
    found = any(name in value for name in ("base_lrs", "_last_lr", "min_lrs"))
    new = {**value, **_scaled(value, SCHEDULED, derived.lr_factor)} if found else dict(value)
    for name, part in value.items():
        if isinstance(part, dict | list | tuple) and name not in SCHEDULED:
            new[name], inside = _changed(part, derived, depth - 1)
            found = found or inside
    return (new, True) if found else (value, False)


def _are_groups(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _scaled(known: Mapping[str, Any], names: Sequence[str], factor: float) -> dict[str, Any]:
    """Return those of the names that are known, with their learning rates, or lists of them, times the factor."""
    rates = {name: known[name] for name in names if name in known}
    return {
        name: [_times(one, factor) for one in rate] if isinstance(rate, list | tuple) else _times(rate, factor)
        for name, rate in rates.items()
    }


def _times(rate: Any, factor: float) -> Any:  # noqa: ANN401 - a number, a tensor, or what a stranger's state has
    is_rate = hasattr(rate, "dtype") or (isinstance(rate, int | float) and not isinstance(rate, bool))
    return rate * factor if is_rate and factor != 1 else rate


# ---- settings beside the learning rate ------------------------------------------------------------------------------


def _settings(derived: Derivation) -> dict[str, float]:
    """Return the settings of an optimizer among the changes, by the name that torch has for them."""
    found = {}
    for parameter, value in {**derived.inherited, **derived.changes}.items():
        last = parameter.rpartition(".")[2].replace("-", "_").lower()
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        for name, usual in (*SETTINGS.items(), *((f"betas.{i}", names) for i, names in enumerate(BETAS))):
            if last in usual:
                found[name] = float(value)
    return found


def _settings_for(groups: Sequence[Mapping[str, Any]], derived: Derivation) -> list[dict[str, Any]]:
    """Return for each parameter group what changes in it.

    A group without weight decay keeps none if another group has some: that is how biases are exempted.
    """
    given = _settings(derived)
    exempt = any(group.get("weight_decay") for group in groups)
    return [_settings_of(group, given, exempt=exempt) for group in groups]


def _settings_of(group: Mapping[str, Any], given: Mapping[str, float], *, exempt: bool) -> dict[str, Any]:
    new: dict[str, Any] = {name: value for name, value in given.items() if name in SETTINGS and name in group}
    if exempt and not group.get("weight_decay"):
        new.pop("weight_decay", None)
    if any(name in group for name in _CYCLIC):
        new.pop("momentum", None)
    elif isinstance(betas := group.get("betas"), list | tuple):
        parts = [given.get(f"betas.{i}", part) for i, part in enumerate(betas)]
        if parts != list(betas):
            new["betas"] = tuple(parts)
    return new
