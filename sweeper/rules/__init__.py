"""Early-stop rules: pure reducers over a trial's history, whose decisions carry their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sweeper.record.decision import Decision
from sweeper.rules import conditions
from sweeper.rules.base import RuleSettings, StopSettings
from sweeper.rules.calibration.audit import rule_version
from sweeper.rules.conditions import Condition, all_of, any_of
from sweeper.rules.decision import Rule, first_decision
from sweeper.rules.diagnoses import DIAGNOSES, Diagnosis
from sweeper.rules.health import DiagnosisCondition, Health
from sweeper.rules.needs import AUTOMATIC, NO_LOSS
from sweeper.rules.rule import ConditionRule
from sweeper.rules.settings import (
    AllOf,
    AnyOf,
    ExplodingGradient,
    Plateau,
    Stalled,
    UpdateRatio,
    ZeroGradient,
)
from sweeper.rules.signals import Objective

__all__ = [
    "ConditionRule",
    "Decision",
    "HasRules",
    "Health",
    "Objective",
    "Rule",
    "first_decision",
    "health_of",
    "parts_of_stalled",
    "rule_of",
    "rules_of",
]


class HasRules(Protocol):
    """Something with the settings of rules, such as the key `early_stop` of a sweep."""

    @property
    def rules(self) -> Sequence[StopSettings]:
        """The settings, in the order of the sweep file."""

    @property
    def stop_when(self) -> str | None:
        """The name of a diagnosis that is no failure and ends a trial all the same; None for none."""


def rules_of(early_stop: HasRules | None, objective: Objective | None = None) -> list[Rule]:
    """Return the rules on one trial: its health, where the diagnoses that `early_stop` names stop it, and the others.

    Pruners are not among them. Without `early_stop` every diagnosis is made, and none stops.

    Args:
        objective: the metric of the sweep; a score that rises speaks for a run.
    """
    rules = () if early_stop is None else early_stop.rules
    conditions_ = [one for one in rules if isinstance(one, RuleSettings) and not isinstance(one, Diagnosis)]
    diagnoses = [one for one in rules if isinstance(one, Diagnosis)]
    done = None if early_stop is None else early_stop.stop_when
    if done is not None and done not in {one.name for one in diagnoses}:
        diagnoses.append(DIAGNOSES[done]())
    health = health_of(diagnoses, objective)
    return [health, *(rule_of(settings) for settings in conditions_)]


def health_of(stopping: Sequence[Diagnosis], objective: Objective | None = None) -> Health:
    """Return the health of a trial: every diagnosis, those given with their own settings, which stop the trial."""
    given = {one.name: one for one in stopping}
    return Health(
        diagnoses=tuple(given.get(name) or kind() for name, kind in DIAGNOSES.items()),
        stopping=frozenset(given),
        versions={name: rule_version(one) for name, one in given.items()},
        objective=objective,
    )


def rule_of(settings: RuleSettings, objective: Objective | None = None) -> Rule:
    """Return the rule with these settings; a diagnosis is the only one in its rule."""
    if isinstance(settings, Diagnosis):
        return Health(
            diagnoses=(settings,),
            stopping=frozenset({settings.name}),
            versions={settings.name: rule_version(settings)},
            objective=objective,
            name=settings.name,
        )
    return ConditionRule(
        condition=_condition(settings),
        grace_steps=settings.grace_steps,
        patience=settings.patience,
        every=settings.every,
        version=rule_version(settings),
    )


def _condition(settings: RuleSettings) -> Condition:
    match settings:
        case Stalled():
            return _stalled(settings)
        case Diagnosis():
            return DiagnosisCondition(settings)
        case UpdateRatio():
            return conditions.UpdateRatio(
                low=settings.low,
                high=settings.high,
                of_start=settings.of_start,
                scheduled=settings.scheduled,
                window=settings.window,
            )
        case ExplodingGradient(times=times, above=above, window=window):
            return conditions.ExplodingGradient(times=times, above=above, window=window)
        case ZeroGradient(share=share, window=window):
            return conditions.ZeroGradient(share=share, window=window)
        case Plateau(metric=metric, prior=prior, gain=gain, window=window):
            return conditions.Plateau(metric=metric, prior=prior, gain=gain, window=window)
        case AllOf():
            return all_of([_condition(one) for one in settings.of])
        case AnyOf():
            return any_of([_condition(one) for one in settings.of])
    raise TypeError(settings)


def _stalled(settings: Stalled) -> Condition:
    """Return the condition of `stalled`: one of its parts holds, and the loss has stopped improving."""
    dead = any_of(parts_of_stalled(settings))
    if settings.loss == NO_LOSS:
        return any_of([dead], name="stalled")
    metric = None if settings.loss == AUTOMATIC else settings.loss
    no_gain = conditions.NoGain(metric=metric, gain=settings.gain, window=settings.window)
    return all_of([dead, no_gain], name="stalled")


def parts_of_stalled(settings: Stalled) -> list[Condition]:
    """Return the conditions of `stalled` on what the watch records: reach, and the scheduled update ratio if asked."""
    window = settings.window
    parts: list[Condition] = [conditions.VanishingGradient(below=settings.below, of_start=None, window=window)]
    if settings.ratio_of_start is not None:
        ratio = settings.ratio_of_start
        parts.append(conditions.UpdateRatio(low=None, high=None, of_start=ratio, scheduled=True, window=window))
    return parts
