"""The parameters of a script that a repair may change, and how they are recognized by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from sweeper.mistakes import listed

USUAL: Mapping[str, tuple[str, ...]] = {
    "lr": (
        *("lr", "learning_rate", "learningrate", "peak_lr", "max_lr", "lr_max", "lr_peak", "base_lr", "init_lr"),
        *("initial_lr", "peak_learning_rate", "max_learning_rate", "base_learning_rate", "initial_learning_rate"),
    ),
    "warmup": (
        *("warmup", "warmup_ratio", "warmup_fraction", "warmup_frac", "warmup_share", "warmup_proportion"),
        *("warmup_steps", "num_warmup_steps", "n_warmup_steps", "lr_warmup_steps", "warmup_iters", "warmup_epochs"),
    ),
    "clip": (
        *("clip", "max_grad_norm", "grad_clip", "clip_grad", "clip_norm", "clip_grad_norm", "grad_clip_norm"),
        *("grad_norm_clip", "gradient_clip", "gradient_clip_val", "gradient_clipping", "clip_gradient", "clipping"),
    ),
    "weight_decay": ("weight_decay", "wd", "l2"),
}
"""For each role, the usual names of its parameter, the most usual first; of `optimizer.lr`, the last part counts."""

ROLES: Mapping[str, str] = {
    "lr": "the learning rate",
    "warmup": "the warmup",
    "clip": "clipping the gradient",
    "weight_decay": "the weight decay",
}
"""What a repair changes, and the words for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedParameters:
    """The name of the parameter in each role; empty if there is none."""

    lr: str = ""
    warmup: str = ""
    clip: str = ""
    weight_decay: str = ""

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are known."""
        return tuple(name for field in fields(self) if (name := getattr(self, field.name)))

    def text(self) -> str:
        """Return which parameters a repair changes, and for which roles there is none, in one sentence."""
        known = [f"{role}={name}" for role in ROLES if (name := getattr(self, role))]
        missing = [words for role, words in ROLES.items() if not getattr(self, role)]
        found = f"repair changes {', '.join(known)}" if known else "repair changes nothing"
        return f"{found}; no parameter was found for {listed(missing)}" if missing else found


def guessed(names: Iterable[str]) -> tuple[RepairedParameters, Mapping[str, tuple[str, ...]]]:
    """Return the parameters that a repair may change, by their usual names.

    Args:
        names: the names of the numeric parameters of a sweep.

    Returns:
        The parameters, and for each role the names of which none was chosen, because they are equally usual.
    """
    names = list(names)
    found: dict[str, str] = {}
    unclear: dict[str, tuple[str, ...]] = {}
    for role, usual in USUAL.items():
        for known in usual:
            matching = tuple(name for name in names if _last(name) == known)
            whole = [name for name in matching if "." not in name]
            if len(matching) == 1 or len(whole) == 1:
                found[role] = (whole or matching)[0]
            elif matching:
                unclear[role] = matching
            if matching:
                break
    return RepairedParameters(**found), unclear


def _last(name: str) -> str:
    part = name.rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).replace("-", "_").lower()
