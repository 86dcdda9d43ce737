"""A sweep as an Optuna study on disk, for optuna-dashboard and Optuna's own analyses: a projection of the record."""

from __future__ import annotations

import datetime as dt
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.config import Choice, Constant, Goal, Parameter, Range, SweepSpec

_STATES = {
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "FAIL": TrialState.FAIL,
    "RUNNING": TrialState.RUNNING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A trial of the study. `began` and `ended` are seconds since the epoch; `values` is the objective by step."""

    params: Mapping[str, object]
    state: str
    value: float | None
    values: Mapping[int, float]
    began: float
    ended: float | None
    attributes: Mapping[str, Any] = field(default_factory=dict)


def write_study(path: Path, spec: SweepSpec, entries: Sequence[Entry]) -> int:
    """Write the study of a sweep to an SQLite file, whole or not at all; returns how many trials it has.

    A file that is there is replaced. Trials that never began are left out. A value that a person added from outside the
    space widens it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{temporary}",
            study_name=spec.name,
            direction="maximize" if spec.metric.goal is Goal.MAXIMIZE else "minimize",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # since 3.2, in every release
            study.set_metric_names([spec.metric.name])
        trials = study_trials(spec, entries)
        study.add_trials(trials)
        temporary.replace(path)
        return len(trials)
    finally:
        temporary.unlink(missing_ok=True)


def study_trials(spec: SweepSpec, entries: Sequence[Entry]) -> list[FrozenTrial]:
    """The trials that began, as Optuna has them; a value from outside the space widens it."""
    begun = [entry for entry in entries if entry.state in _STATES]
    varied = {name: parameter for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)}
    space = {
        name: _distribution(parameter, [entry.params[name] for entry in begun if name in entry.params])
        for name, parameter in varied.items()
    }
    return [_trial(entry, space) for entry in begun]


def _trial(entry: Entry, space: Mapping[str, BaseDistribution]) -> FrozenTrial:
    state = _STATES[entry.state]
    if state is TrialState.COMPLETE and entry.value is None:
        state = TrialState.FAIL  # to Optuna a complete trial has a value
    named = {name: distribution for name, distribution in space.items() if name in entry.params}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=entry.value if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        datetime_start=_moment(entry.began),
        datetime_complete=_moment(entry.ended) if state.is_finished() else None,
        params={name: _plain(entry.params[name], distribution) for name, distribution in named.items()},
        distributions=named,
        user_attrs=dict(entry.attributes),
        system_attrs={},
        intermediate_values=dict(entry.values),
    )


def _moment(seconds: float | None) -> dt.datetime | None:
    """In local time without a zone, as Optuna keeps it."""
    return None if seconds is None else dt.datetime.fromtimestamp(seconds)  # noqa: DTZ006 - Optuna's own form


def _distribution(parameter: Parameter, values: Sequence[Any]) -> BaseDistribution:
    if isinstance(parameter, Range) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        low, high = min([parameter.min, *values]), max([parameter.max, *values])
        log = parameter.distribution.log and low > 0
        if isinstance(low, int) and isinstance(high, int) and all(isinstance(value, int) for value in values):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    known = parameter.values if isinstance(parameter, Choice) else ()
    return CategoricalDistribution(list(dict.fromkeys(_named(value) for value in (*known, *values))))


def _named(value: Any) -> bool | int | float | str | None:  # noqa: ANN401 - any value of a parameter
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _plain(value: Any, distribution: BaseDistribution) -> Any:  # noqa: ANN401 - any value of a parameter
    return _named(value) if isinstance(distribution, CategoricalDistribution) else value
