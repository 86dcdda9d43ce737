"""Successive halving at given evaluations, as W&B's Hyperband with `max_iter` and `s` has them: 33 and 100 of 300."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial


class RungPruner(BasePruner):
    """At each rung, the best one of `reduction_factor` trials so far continues, as in Optuna's successive halving."""

    def __init__(self, rungs: Sequence[int], reduction_factor: int) -> None:
        self._rungs = frozenset(rungs)
        self._factor = reduction_factor

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial should stop at its last evaluation."""
        step = trial.last_step
        if step not in self._rungs:
            return False
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        own = sign * trial.intermediate_values[step]
        if math.isnan(own):
            return True
        reached = (other.intermediate_values.get(step) for other in study.get_trials(deepcopy=False))
        values = sorted(sign * value for value in reached if value is not None and not math.isnan(value))
        return own > values[max(len(values) // self._factor - 1, 0)]
