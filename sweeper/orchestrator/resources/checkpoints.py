"""Keep the checkpoints of pruned trials, so that they can be revived; if space is short, discard the worst first."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.orchestrator.trials import Trials
from sweeper.record.storage import confined
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import State, TrialRecord

GB = 1e9


@dataclass(slots=True)
class KeptCheckpoints:
    """Chooses which pruned trials lose their checkpoints, so that the others fit in `limit_gb` (None: no limit)."""

    limit_gb: float | None
    _pruned: int = 0
    _needed: Collection[int] = frozenset()

    def to_discard(self, trials: Trials, awaited: Callable[[], Collection[int]]) -> list[int]:
        """Return the numbers of the trials that lose their checkpoints, the worst first.

        The sizes on the disk are measured only if a trial was pruned since the last call, or is no longer awaited.

        Args:
            trials: all trials.
            awaited: returns the numbers of the trials that a repair will continue, which keep theirs.
        """
        pruned = trials.count(State.PRUNED)
        if self.limit_gb is None or (pruned == self._pruned and not self._needed):
            return []
        needed = awaited()
        if pruned == self._pruned and needed == self._needed:
            return []
        self._pruned, self._needed = pruned, needed
        kept = [
            (trial.facts.number, math.inf if trial.facts.number in needed else quality(trial), size_of(trial))
            for trial in trials.in_state(State.PRUNED)
        ]
        return [number for number in over_limit(kept, self.limit_gb * GB) if number not in needed]


def over_limit(kept: Sequence[tuple[int, float, float]], limit: float) -> list[int]:
    """Return the numbers of the trials that have to lose their checkpoints: the worst first, and as few as possible.

    Args:
        kept: number, quality (see `quality`) and size in bytes of the checkpoints of each trial.
        limit: bytes.
    """
    total, discarded = sum(size for _, _, size in kept), []
    for number, _, size in sorted(kept, key=lambda one: one[1]):
        if total <= limit:
            break
        if size:
            discarded.append(number)
            total -= size
    return discarded


def discard_checkpoints(trial: TrialDir) -> None:
    """Remove the checkpoints of a trial."""
    with contextlib.suppress(OSError):
        for name in confined.listed(trial.checkpoints):
            if name.endswith(".pt"):
                confined.remove(trial.checkpoints / name)
        confined.remove_folder(trial.kept)


def quality(trial: TrialRecord) -> float:
    """Return the trial's value, signed so that more is better; -inf if nothing was measured."""
    if trial.value is None:
        return -math.inf
    return trial.value if trial.facts.maximize else -trial.value


def size_of(trial: TrialRecord) -> float:
    """Return the bytes of a trial's checkpoints; 0 if they cannot be read."""
    folder = trial.directory.checkpoints
    try:
        own = sum((folder / name).lstat().st_size for name in confined.listed(folder) if name.endswith(".pt"))
        return float(own + _size_of_kept(trial.directory))
    except OSError:
        return 0.0


def _size_of_kept(trial: TrialDir) -> int:
    """Return the bytes of what is kept of a library's own checkpoints."""
    if not confined.listed(trial.kept):
        return 0
    files = (Path(folder) / name for folder, _, names in os.walk(trial.kept) for name in names)  # it follows no link
    return sum(path.lstat().st_size for path in files)
