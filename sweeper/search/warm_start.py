"""Where CMA-ES begins if it learns from other runs: around the best tenth of their configurations.

Source: Nomura et al. 2021, "Warm starting CMA-ES for hyperparameter optimization", as in Optuna (`source_trials`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.search.proposal import Configuration

FEWEST = 10
"""The fewest trials that Optuna takes; of fewer ones each counts several times, so that the best is the best tenth."""


def warm_start(
    learned: Sequence[Configuration], as_trial: Callable[[Configuration], FrozenTrial]
) -> list[FrozenTrial] | None:
    """Return the trials that CMA-ES begins from; None if no configuration has a value and numbers to learn from.

    Args:
        learned: Configurations of other runs, with the values that they count with.
        as_trial: Returns a configuration as a trial of the study.
    """
    trials = [as_trial(replace(one, state="COMPLETE", failed=0.0)) for one in learned if one.value is not None]
    numbers = [_with_numbers_alone(trial) for trial in trials if trial.state is TrialState.COMPLETE]
    usable = [trial for trial in numbers if trial.params]
    return usable * math.ceil(FEWEST / len(usable)) if usable else None


def _with_numbers_alone(trial: FrozenTrial) -> FrozenTrial:
    """Return the trial with the parameters that CMA-ES varies: numbers that have more than one value."""
    kept: dict[str, BaseDistribution] = {
        name: distribution
        for name, distribution in trial.distributions.items()
        if isinstance(distribution, FloatDistribution | IntDistribution) and not distribution.single()
    }
    params = {name: trial.params[name] for name in kept}
    return create_trial(value=trial.value, params=params, distributions=kept)
