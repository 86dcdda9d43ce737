"""Recognize reported values by their names: the training loss, losses on held-out examples, and scores.

Entropies, divergences, penalties and auxiliary losses are no training losses. Neither are the losses of a policy, a
generator or a discriminator, because their values do not show progress: a generator's loss rises in a healthy GAN.
"""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.record.values.losses import HELD_OUT_WORDS as _HELD_OUT
from sweeper.record.values.losses import LOSS_WORDS as _LOSS
from sweeper.record.values.losses import is_trained_loss
from sweeper.record.values.losses import words_of as _words

__all__ = ["held_out_loss", "is_loss", "is_trained_loss", "score", "training_loss"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NO_LOSS = _set(
    "entropy ent kl kld divergence aux auxiliary reg regularization regularizer penalty balance balancing "
    "router z l1 l2 decay commitment codebook gp "
)
_NO_HEIGHT = _set(
    "policy actor pg pi value critic vf v q qf discriminator generator disc gen adversarial adv d g fake real "
)
_SCORE = _set(
    "accuracy acc score f1 auc auroc r2 return returns reward rewards bleu rouge iou miou map precision "
    "recall top1 success em "
)

_INFERRED = "loss/backward"
"""The loss where the script calls `.backward()`: it counts if the script reports no other (see `auto.losses`)."""
_OF_ONE_OPTIMIZER = "loss/backward/"


def training_loss(names: Iterable[str]) -> str | None:
    """Return the name of the loss that training minimizes; None if no name fits."""
    candidates = []
    for name in names:
        words = _words(name)
        if words & _LOSS and not words & (_HELD_OUT | _NO_LOSS | _NO_HEIGHT) and not name.startswith(_OF_ONE_OPTIMIZER):
            is_inferred = name == _INFERRED
            candidates.append((is_inferred, not words & {"train", "training", "total"}, len(words), name))
    return min(candidates)[3] if candidates else None


def held_out_loss(names: Iterable[str]) -> str | None:
    """Return the name of a loss on held-out examples; None if no name fits."""
    found = (name for name in names if (words := _words(name)) & _HELD_OUT and words & _LOSS and not words & _NO_LOSS)
    return min((name for name in found if "prior" not in _words(name)), default=None)


def score(names: Iterable[str]) -> str | None:
    """Return the name of a value of which larger is better; None if no name fits."""
    found = [(not _words(name) & _HELD_OUT, name) for name in names if _words(name) & _SCORE]
    return min(found)[1] if found else None


def is_loss(name: str) -> bool:
    """Return whether the name is that of a loss."""
    return bool(_words(name) & _LOSS)
