"""Parameter importance: how much of the variation of the metric each parameter explains, by fANOVA.

Source: Hutter et al. 2014, "An efficient approach for assessing hyperparameter importance", as in Optuna.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from sweeper.config import SweepSpec
from sweeper.errors import ExtraMissing
from sweeper.record.values.extremes import tamed
from sweeper.search.study import StudyTrial, study_trials

MIN_TRIALS = 4
"""With fewer complete trials, the splits of the trees would be random."""


def importance(spec: SweepSpec, trials: Sequence[StudyTrial], objective: int = 0) -> dict[str, float]:
    """Return each varied parameter's share of the variance of the metric, between 0 and 1; the sum is 1.

    Only complete trials count. Parameters that only some of them have are left out.

    Args:
        spec: The sweep.
        trials: Its trials.
        objective: The position of the objective, if there are several.

    Returns:
        The shares by parameter; empty with fewer than `MIN_TRIALS` complete trials, or if their values are equal.

    Raises:
        ExtraMissing: scikit-learn, which Optuna's evaluator needs, is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    complete = [trial for trial in study_trials(spec, trials) if trial.state is optuna.trial.TrialState.COMPLETE]
    values = {trial.values[objective] for trial in complete}
    if len(complete) < MIN_TRIALS or len(values) == 1:
        return {}
    if importlib.util.find_spec("sklearn") is None:
        raise ExtraMissing("the importance of parameters", "scikit-learn", "search")
    for trial in complete:
        trial.values = [tamed(value) for value in trial.values]
    study = optuna.create_study(directions=["minimize"] * len(spec.goals))
    study.add_trials(complete)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # of values without any variance that is a number
        try:
            evaluator = FanovaImportanceEvaluator(seed=0)
            target = (lambda trial: trial.values[objective]) if spec.objectives else None
            return dict(get_param_importances(study, evaluator=evaluator, target=target))
        except (RuntimeError, ValueError):  # for example, no parameter is common to all trials
            return {}
