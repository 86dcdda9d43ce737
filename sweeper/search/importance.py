"""Which parameters the values of a sweep depend on, by Optuna's fANOVA (Hutter et al. 2014)."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from sweeper.errors import ExtraMissing
from sweeper.search.study import Entry, study_trials
from sweeper.spec import SweepSpec

FEWEST = 4
"""Complete trials; below, every split of a tree is chance."""


def importance(spec: SweepSpec, entries: Sequence[Entry]) -> dict[str, float]:
    """Each varied parameter's share of the variation of the values, summing to 1; empty where nothing can be said.

    Complete trials alone count. Parameters that only some of them have are left out.

    Raises:
        ExtraMissing: scikit-learn, which Optuna's evaluator needs, is not installed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trials = [trial for trial in study_trials(spec, entries) if trial.state is optuna.trial.TrialState.COMPLETE]
    values = {trial.value for trial in trials}
    if len(trials) < FEWEST or len(values) == 1:
        return {}
    if importlib.util.find_spec("sklearn") is None:
        raise ExtraMissing("the importance of parameters", "scikit-learn", "search")
    study = optuna.create_study()
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
        except (RuntimeError, ValueError):  # as where no parameter is common to all
            return {}
