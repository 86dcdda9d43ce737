"""Translate libraries' metric names to sweeper's: `loss/train`, `accuracy/test`, `gradient/norm`.

A prefix or suffix `train`, `eval`, `val`, `valid`, `validation` or `test` names the data set of a metric. `train`
stays, and all others become `test`, the set that trials are ranked by. `loss` alone becomes `loss/train`. Any other
name stays.

The sweep's metric comes first: what a script logs under that name keeps it. And no two names become one: of `eval_loss`
and `test_loss`, the set that is evaluated during the training becomes `loss/test`, and the other keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_SETS = {"train": "train", **dict.fromkeys(("eval", "val", "valid", "validation", "test"), "test")}
_WORDS = {"acc": "accuracy", "grad_norm": "gradient/norm", "loss": "loss/train", "lr": "learning_rate"}
_LEADING = re.compile(rf"({'|'.join(_SETS)})[_/](.+)")
_TRAILING = re.compile(rf"(.+)[_/]({'|'.join(_SETS)})")


def metric_name(name: str) -> str:
    """Return sweeper's name of a library's metric: `loss/test` for `eval_loss`."""
    if leading := _LEADING.fullmatch(name):
        which, what = leading.groups()
    elif trailing := _TRAILING.fullmatch(name):
        what, which = trailing.groups()
    else:
        return _WORDS.get(name, name)
    return f"{'accuracy' if what == 'acc' else what}/{_SETS[which]}"


def is_same_name(name: str, other: str) -> bool:
    """Return whether two names are spelled alike: `eval_loss` and `eval/loss`."""
    return name.replace("/", "_") == other.replace("/", "_")


def own_name(name: str, ranking: Sequence[str]) -> str:
    """Return the objective, or metric with bounds, that a script logs under this name; otherwise the first of them."""
    return next((one for one in ranking if is_same_name(name, one)), ranking[0] if ranking else "")


class Names:
    """The names under which one script's metrics are recorded."""

    def __init__(self) -> None:
        self._logged: dict[str, str] = {}

    def recorded(self, name: str, *, metric: str, evaluates: bool = False) -> str:
        """Return the name under which a metric is recorded.

        Args:
            name: the name that the script logs.
            metric: the sweep's metric.
            evaluates: whether another set than `test` is evaluated during the training, so that `test` is kept for the
                end. Otherwise the first set of a metric becomes `test`.
        """
        if is_same_name(name, metric):
            return metric
        ours = metric_name(name)
        if evaluates and _set_of(name) == "test":
            return name
        return ours if self._logged.setdefault(ours, name) == name else name


def _set_of(name: str) -> str:
    """Return the word for the data set in a name; empty if there is none."""
    if leading := _LEADING.fullmatch(name):
        return leading[1]
    trailing = _TRAILING.fullmatch(name)
    return trailing[2] if trailing else ""
