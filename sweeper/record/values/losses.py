"""Recognize training losses by their names. The other names of metrics are in `rules.signals.metric_names`."""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])")
HELD_OUT_WORDS = _set("test val valid validation eval evaluation dev holdout prior heldout best")
LOSS_WORDS = _set("loss losses cost nll elbo ce bce mse mae objective criterion error perplexity")


def is_trained_loss(name: str) -> bool:
    """Return whether the name is that of a loss on training examples, which may be a part, or of one network."""
    words = words_of(name)
    return bool(words & LOSS_WORDS) and not words & HELD_OUT_WORDS


def words_of(name: str) -> frozenset[str]:
    """Return the words of a name in lower case: `valLoss/top1` has val, loss, top and 1."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return frozenset(word for word in _WORD.split(split.lower()) if word)
