"""Translate libraries' metric names to sweeper's: `loss/train`, `accuracy/test`, `gradient/norm`.

A prefix or suffix `train`, `eval`, `val`, `valid`, `validation` or `test` names the data set of a metric. `train`
stays, and all others become `test`, the set that trials are ranked by. `loss` alone becomes `loss/train`. Any other
name stays.
"""

from __future__ import annotations

import re

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
