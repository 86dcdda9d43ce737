"""The result of a configuration, from the records of its trials: its value, and which failed by their parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sweeper.config import Impute
from sweeper.record.causes import Cause
from sweeper.record.decision import Decision
from sweeper.record.events import AUDITED, Continued
from sweeper.record.finite import NON_FINITE, was_non_finite
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.extremes import mean
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING
from sweeper.rules.pruner_settings import PRUNERS
from sweeper.search import Configuration

OWN_CAUSES = frozenset({Cause.ERROR, Cause.CUDA_OOM, Cause.OOM})
"""The causes of failure that come from the parameters. All others come from the machine or from a user."""

OTHER_RULES = frozenset(PRUNERS) | (DIAGNOSES.keys() - set(STOPPING))
"""The rules that stop trials which learn: pruners, which compare trials, and diagnoses that warn or inform."""


def with_result(configuration: Configuration, own: Sequence[TrialRecord], impute: Impute) -> Configuration:
    """Return the configuration with the result of its trials: the mean over its seeds, once all of them have ended.

    Audits are hidden from the search: an audited trial counts as stopped, with the value it had when it was flagged.

    Args:
        configuration: The configuration.
        own: Its trials, one for each seed.
        impute: How trials count that failed because of their parameters.
    """
    states = [_state(trial) for trial in own]
    if not own or not all(state.ended for state in states):
        return replace(
            configuration,
            state=State.RUNNING.value,
            value=None,
            step=None,
            failed=0.0,
            why="",
            values=(),
            violations=(),
        )
    values, reasons, violations = [], [], []
    for trial in own:
        reason = "" if impute is Impute.OFF else why_failed(trial)
        value = _own_value(trial, impute) if reason else _values(trial)
        if value is not None:
            values.append(value)
            violations.append(_violations(trial))
        elif reason:
            reasons.append(reason)
    means = tuple(map(mean, zip(*values, strict=True)))
    return replace(
        configuration,
        state=next((state for state in (State.COMPLETE, State.PRUNED) if state in states), State.FAIL).value,
        value=means[0] if means else None,
        values=means if len(means) > 1 else (),
        violations=tuple(map(max, zip(*violations, strict=True))),
        step=max((trial.series.last_step for trial in own if trial.series is not None), default=None),
        failed=len(reasons) / (len(reasons) + len(values)) if reasons else 0.0,
        why=", ".join(dict.fromkeys(reasons)),
    )


def why_failed(trial: TrialRecord) -> str:
    """Return why a trial that has ended failed because of its parameters, in a few words; empty if it did not.

    It failed by a cause that its parameters explain, a rule flagged it and it was stopped, none of its values was
    finite, or it completed and an objective or a metric with bounds has no value. What a user, a lost machine or a full
    one ended says nothing about the parameters.
    """
    decision = _stopped_by(trial)
    if decision is not None and not decision.by_person and decision.rule not in OTHER_RULES:
        return f"stopped by {decision.rule}"
    if trial.state is State.FAIL and trial.newest.cause in OWN_CAUSES:
        return str(trial.newest.cause)
    if trial.state is State.COMPLETE and was_non_finite(trial):
        return NON_FINITE
    by_person = decision is not None and decision.by_person
    if not by_person and (missing := _without_value(trial)):
        return f"no finite value of {' and '.join(missing)}"
    return ""


def _without_value(trial: TrialRecord) -> list[str]:
    """Return the objectives, and the metrics with bounds, without a finite value in the evaluation that counts.

    Of a trial that did not complete, they are those that it had reported: it may have ended before it could report the
    others.
    """
    audited = _audited(trial)
    if not trial.facts.objectives and _values(trial) is not None:
        found: Mapping[str, float] = {trial.facts.metric: 0.0, **_constrained(trial)}
    elif audited is not None:
        found = audited.values
    else:
        found = {} if trial.point is None else trial.point.values
    names = [*(goal.name for goal in trial.facts.goals), *(one.name for one in trial.facts.constraints)]
    missing = [name for name in dict.fromkeys(names) if not math.isfinite(found.get(name, math.nan))]
    return missing if _state(trial) is State.COMPLETE else [name for name in missing if name in _reported(trial)]


def _reported(trial: TrialRecord) -> set[str]:
    """Return the metrics with values; of an audited trial, only the bounded ones with values when it was flagged."""
    audited, goals = _audited(trial), {goal.name for goal in trial.facts.goals}
    return {name for name in trial.progress.metrics if audited is None or name in goals or name in audited.values}


def _stopped_by(trial: TrialRecord) -> Decision | None:
    if (audited := _audited(trial)) is not None:
        return audited.decision
    stop = trial.newest.stop
    return stop.decision if trial.state is State.PRUNED and stop is not None else None


def _audited(trial: TrialRecord) -> Continued | None:
    """Return the decision after which an audited trial continued, with its values at that moment."""
    continued = trial.continued
    return continued if continued is not None and continued.cause == AUDITED else None


def _state(trial: TrialRecord) -> State:
    return State.PRUNED if _audited(trial) is not None else trial.state


def _values(trial: TrialRecord) -> tuple[float, ...] | None:
    """Return the value of each objective; None if one is missing or not finite."""
    audited = _audited(trial)
    if audited is None:
        return trial.values
    if not trial.facts.objectives:
        return None if audited.value is None else (audited.value,)
    found = tuple(audited.values.get(goal.name, math.nan) for goal in trial.facts.objectives)
    return found if all(map(math.isfinite, found)) else None


def _constrained(trial: TrialRecord) -> Mapping[str, float]:
    audited = _audited(trial)
    return trial.constrained if audited is None else audited.values


def _violations(trial: TrialRecord) -> tuple[float, ...]:
    known = _constrained(trial)
    return tuple(v for one in trial.facts.constraints for v in one.violations(known.get(one.name, math.nan)))


def _own_value(trial: TrialRecord, impute: Impute) -> tuple[float, ...] | None:
    """Return the trial's own value that `impute` chooses; None stands for the worst so far."""
    if impute is Impute.WORST or trial.series is None or trial.facts.objectives:
        return None
    if _audited(trial) is not None:
        return _values(trial)
    best = trial.series.high if trial.facts.maximize else trial.series.low
    value = best if impute is Impute.BEST else trial.series.last
    return (value,) if math.isfinite(value) else None
