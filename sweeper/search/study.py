"""Export of a sweep as an Optuna study on disk, for optuna-dashboard and Optuna's analyses."""

from __future__ import annotations

import datetime as dt
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.config import Beta, Choice, Constant, Normal, Parameter, Range, SweepSpec
from sweeper.record.values.redaction import redacted_value

_STATES = {
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "FAIL": TrialState.FAIL,
    "RUNNING": TrialState.RUNNING,
}


LAST_MOMENT = 253_402_000_000.0
"""A moment in the year 9999, the last that Python knows, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTrial:
    """A trial for the study.

    Attributes:
        params: The value of each parameter that applies.
        state: The state of the trial, as in `record.trial.State`.
        value: The final value of the metric; None if it has none.
        values: The metric by optimizer step.
        began: When it began, in seconds since the epoch.
        ended: When it ended, in seconds since the epoch; None while it runs.
        attributes: User attributes of the Optuna trial.
        objectives: The final value of each objective if there are several; None without them.
        violations: By how much each bound of the constraints is missed: 0 or less inside.
    """

    params: Mapping[str, object]
    state: str
    value: float | None
    values: Mapping[int, float]
    began: float
    ended: float | None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    objectives: Sequence[float] | None = None
    violations: Sequence[float] = ()


def write_study(path: Path, spec: SweepSpec, trials: Sequence[StudyTrial]) -> int:
    """Write a sweep as a study to an SQLite file, atomically.

    Trials that never began are left out. A value outside of the search space, which a user added, widens the space.

    Args:
        path: The file; an existing one is replaced.
        spec: The sweep.
        trials: Its trials.

    Returns:
        The number of trials in the study.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{temporary}",
            study_name=spec.name,
            directions=["maximize" if goal.maximize else "minimize" for goal in spec.goals],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # since 3.2, in every release
            study.set_metric_names([goal.name for goal in spec.goals])
        exported = study_trials(spec, trials, published=True)
        study.add_trials(exported)
        temporary.replace(path)
        return len(exported)
    finally:
        temporary.unlink(missing_ok=True)


def study_trials(spec: SweepSpec, trials: Sequence[StudyTrial], *, published: bool = False) -> list[FrozenTrial]:
    """Return the trials that began as Optuna trials. A value outside of the search space widens the space.

    Args:
        spec: The sweep.
        trials: Its trials.
        published: Whether the trials are handed on, so that secrets among the parameters are redacted.
    """
    shown = redacted_value if published else _as_it_is
    begun = [trial for trial in trials if trial.state in _STATES]
    varied = {name: parameter for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)}
    space = {
        name: _distribution(
            parameter,
            [shown(name, trial.params[name]) for trial in begun if name in trial.params],
            [shown(name, value) for value in (parameter.values if isinstance(parameter, Choice) else ())],
        )
        for name, parameter in varied.items()
    }
    several = bool(spec.objectives)
    return [
        _trial(
            replace(trial, params={name: shown(name, value) for name, value in trial.params.items()}),
            space,
            several=several,
        )
        for trial in begun
    ]


def _as_it_is(_name: str, value: object) -> object:
    return value


def _trial(trial: StudyTrial, space: Mapping[str, BaseDistribution], *, several: bool) -> FrozenTrial:
    state = _STATES[trial.state]
    if state is TrialState.COMPLETE and trial.value is None:
        state = TrialState.FAIL  # Optuna requires a value of a complete trial
    named = {name: distribution for name, distribution in space.items() if name in trial.params}
    valued = (TrialState.COMPLETE,) if several else (TrialState.COMPLETE, TrialState.PRUNED)
    found = {"values": trial.objectives, "value": None} if several else {"value": trial.value}
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        **(found if state in valued else {"value": None}),
        datetime_start=_moment(trial.began),
        datetime_complete=_moment(trial.ended) if state.is_finished() else None,
        params={name: _plain(trial.params[name], distribution) for name, distribution in named.items()},
        distributions=named,
        user_attrs=dict(trial.attributes),
        system_attrs={"constraints": list(trial.violations)} if trial.violations else {},
        intermediate_values={} if several else dict(trial.values),  # Optuna has none with several objectives
    )


def _moment(seconds: float | None) -> dt.datetime | None:
    """Return the local time without a zone, which is what Optuna stores."""
    if seconds is None or not math.isfinite(seconds):
        return None
    return dt.datetime.fromtimestamp(min(max(seconds, 0.0), LAST_MOMENT))  # noqa: DTZ006 - Optuna's format


def _distribution(parameter: Parameter, values: Sequence[Any], known: Sequence[Any]) -> BaseDistribution:
    numeric = isinstance(parameter, Range | Normal | Beta)
    if numeric and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        bounds = (parameter.min, parameter.max) if isinstance(parameter, Range) else values or (0.0,)
        low, high = min([*bounds, *values]), max([*bounds, *values])
        log = isinstance(parameter, Range | Normal) and parameter.distribution.log and low > 0
        if isinstance(low, int) and isinstance(high, int) and all(isinstance(value, int) for value in values):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    return CategoricalDistribution(list(dict.fromkeys(_named(value) for value in (*known, *values))))


def _named(value: Any) -> bool | int | float | str | None:  # noqa: ANN401 - any value of a parameter
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _plain(value: Any, distribution: BaseDistribution) -> Any:  # noqa: ANN401 - any value of a parameter
    return _named(value) if isinstance(distribution, CategoricalDistribution) else value
