"""Pruned trials are parked with their checkpoints; where the disk has to be spared, the worst give theirs up first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import Trial

GB = 1e9


def to_give_up(parked: Sequence[tuple[int, float, float]], budget: float) -> list[int]:
    """Whose checkpoints go, so that the others fit the budget.

    Args:
        parked: number, worth (see `worth`), bytes of each.
        budget: bytes.

    Returns:
        Numbers, the worst first; as few as it takes, in that order.
    """
    total, given_up = sum(size for _, _, size in parked), []
    for number, _, size in sorted(parked, key=lambda one: one[1]):
        if total <= budget:
            break
        if size:
            given_up.append(number)
            total -= size
    return given_up


def crowded(pruned: Sequence[Trial], budget_gb: float) -> list[int]:
    """The numbers of those whose checkpoints have to go, so that those of the others fit."""
    parked = [(trial.facts.number, worth(trial), _size(trial)) for trial in pruned]
    return to_give_up(parked, budget_gb * GB)


def unpark(trial: TrialDir) -> None:
    """Remove the checkpoints of a trial."""
    for path in trial.checkpoints.glob("*.pt"):
        path.unlink(missing_ok=True)


def worth(trial: Trial) -> float:
    """The trial's value, signed so that more is better; -inf where nothing was measured."""
    if trial.value is None:
        return -math.inf
    return trial.value if trial.facts.maximize else -trial.value


def _size(trial: Trial) -> float:
    return float(sum(path.stat().st_size for path in trial.directory.checkpoints.glob("*.pt")))
