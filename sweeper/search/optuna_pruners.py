"""Optuna's pruners, made from their settings in a sweep file. Names and defaults are those of Optuna."""

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
from sweeper.search.rungs import RungPruner

STUDY = "sweeper"
"""The name of every study: Optuna's Hyperband assigns brackets by a checksum of study name and trial number."""


class OptunaPruner:
    """A pruner of Optuna with an in-memory study, in which trials are numbered in the order of their first reports."""

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
        """Report a value, as in `Pruner.report`."""
        if number not in self._trials:
            self._trials[number] = self._study.ask()
        self._trials[number].report(value, step)
        self._last[number] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy and Optuna warn about values that are not finite
            return self._trials[number].should_prune()

    def end(self, number: int, *, pruned: bool) -> None:
        """Report an end, as in `Pruner.end`. A trial counts as failed if its last value is not finite."""
        trial = self._trials.get(number)
        if trial is None:
            return
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif math.isfinite(self._last[number]):
            self._study.tell(trial, self._last[number])
        else:
            self._study.tell(trial, state=TrialState.FAIL)


def build_pruner(settings: config.StopSettings, evaluations: int | None) -> BasePruner:
    """Return Optuna's pruner with these settings.

    Args:
        settings: The settings from the sweep file.
        evaluations: The number of evaluations of a trial, if it is known; Hyperband uses it as `max_resource`.

    Raises:
        TypeError: The settings are not those of a pruner of Optuna.
    """
    given = settings.model_dump()
    match settings:
        case config.Percentile():
            return PercentilePruner(**given)
        case config.Median():
            return MedianPruner(**given)
        case config.SuccessiveHalving(rungs=None):
            return SuccessiveHalvingPruner(**{key: value for key, value in given.items() if key != "rungs"})
        case config.SuccessiveHalving(rungs=rungs):
            return RungPruner(rungs or (), settings.reduction_factor)
        case config.Hyperband(max_resource=maximum):
            return HyperbandPruner(**given | {"max_resource": maximum or evaluations or "auto"})
        case config.Threshold():
            return ThresholdPruner(**given)
        case config.Wilcoxon():
            return _unwarned(lambda: WilcoxonPruner(**given))
        case config.Patient(wrapped=wrapped):
            inner = None if wrapped is None else build_pruner(wrapped, evaluations)
            return _unwarned(lambda: PatientPruner(inner, settings.patience, settings.min_delta))
    raise TypeError(settings)


def _unwarned(make: Callable[[], BasePruner]) -> BasePruner:
    """Make a pruner without Optuna's warning that it is experimental; our tests cover its behaviour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()
