"""What libraries call their metrics, in sweeper's words: `loss/train`, `accuracy/test`, `gradient/norm`.

A leading or trailing `train`, `eval`, `val`, `valid`, `validation` or `test` says of which set a metric is; all but
the first are `test`, the set that trials are ranked by. A bare `loss` is that of training. Any other name stays.
"""

from __future__ import annotations

import re

_SETS = {"train": "train", **dict.fromkeys(("eval", "val", "valid", "validation", "test"), "test")}
_WORDS = {"acc": "accuracy", "grad_norm": "gradient/norm", "loss": "loss/train", "lr": "learning_rate"}
_LEADING = re.compile(rf"({'|'.join(_SETS)})[_/](.+)")
_TRAILING = re.compile(rf"(.+)[_/]({'|'.join(_SETS)})")


def metric_name(name: str) -> str:
    """The name that the record has for a library's metric."""
    if leading := _LEADING.fullmatch(name):
        which, what = leading.groups()
    elif trailing := _TRAILING.fullmatch(name):
        what, which = trailing.groups()
    else:
        return _WORDS.get(name, name)
    return f"{'accuracy' if what == 'acc' else what}/{_SETS[which]}"
