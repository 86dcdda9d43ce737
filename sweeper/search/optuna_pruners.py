"""Optuna's pruners, from their settings in a sweep file; the names and the defaults are Optuna's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from optuna.trial import Trial, TrialState

from sweeper import config

STUDY = "sweeper"
"""Optuna's Hyperband assigns brackets by a checksum of the study's name and the trial's number in it."""


class OptunaPruner:
    """A pruner of Optuna on an in-memory study; trials have Optuna's numbers in the order of their first reports."""

    def __init__(self, pruner: BasePruner, *, maximize: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=STUDY,
            direction="maximize" if maximize else "minimize",
            sampler=optuna.samplers.RandomSampler(seed=0),  # proposes nothing here
            pruner=pruner,
        )
        self._trials: dict[int, Trial] = {}
        self._last: dict[int, float] = {}

    def report(self, number: int, step: int, value: float) -> bool:
        """As `Pruner.report`; Optuna is asked after every value."""
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        self._trials[number].report(value, step)
        self._last[number] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that are not finite, by NumPy and by Optuna
            return self._trials[number].should_prune()

    def end(self, number: int, *, pruned: bool) -> None:
        """As `Pruner.end`; a trial whose last value is not finite is one that failed."""
        trial = self._trials.get(number)
        if trial is None:
            return
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif math.isfinite(self._last[number]):
            self._study.tell(trial, self._last[number])
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def made(settings: config.StopSettings, evaluations: int | None) -> BasePruner:
    """Optuna's pruner of such settings, for trials of so many evaluations, where that is known."""
    given = settings.model_dump()
    match settings:
        case config.Percentile():
            return PercentilePruner(**given)
        case config.Median():
            return MedianPruner(**given)
        case config.SuccessiveHalving():
            return SuccessiveHalvingPruner(**given)
        case config.Hyperband(max_resource=most):
            return HyperbandPruner(**given | {"max_resource": most or evaluations or "auto"})
        case config.Threshold():
            return ThresholdPruner(**given)
        case config.Wilcoxon():
            return _unwarned(lambda: WilcoxonPruner(**given))
        case config.Patient(wrapped=wrapped):
            inner = None if wrapped is None else made(wrapped, evaluations)
            return _unwarned(lambda: PatientPruner(inner, settings.patience, settings.min_delta))
    raise TypeError(settings)


def _unwarned(make: Callable[[], BasePruner]) -> BasePruner:
    """Those that Optuna calls experimental for years; that they do what is promised is held by our tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
