"""Early-stop rules: pure reducers over a trial's history. Every decision carries its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sweeper.record.decision import Decision
from sweeper.record.objectives import Constraint, Objective
from sweeper.record.on_spike import OnSpike
from sweeper.rules.base import RuleSettings, StopSettings
from sweeper.rules.calibration.audit import rule_version
from sweeper.rules.diagnoses import DIAGNOSES, Diagnosis
from sweeper.rules.health import Health
from sweeper.rules.rule import ConditionRule, Rule, first_decision

__all__ = [
    "ConditionRule",
    "Constraint",
    "Decision",
    "HasRules",
    "Health",
    "Objective",
    "OnSpike",
    "Rule",
    "first_decision",
    "health_of",
    "rule_of",
    "rules_of",
]


class HasRules(Protocol):
    """The rules of a sweep, such as its key `early_stop`."""

    @property
    def rules(self) -> Sequence[StopSettings]:
        """The settings of the rules, in the order of the sweep file."""

    @property
    def stop_when(self) -> str | None:
        """The name of a diagnosis that is no failure but ends a trial too; None for none."""


def rules_of(early_stop: HasRules | None, objective: Objective | None = None) -> list[Rule]:
    """Return the rules on one trial: its health with all diagnoses, and the conditions. Pruners are left out.

    Args:
        early_stop: the rules of the sweep; the diagnoses among them stop the trial. None stops nothing.
        objective: the metric of the sweep; the diagnoses read whether it improves.
    """
    rules = () if early_stop is None else early_stop.rules
    conditions = [one for one in rules if isinstance(one, RuleSettings) and not isinstance(one, Diagnosis)]
    diagnoses = [one for one in rules if isinstance(one, Diagnosis)]
    done = None if early_stop is None else early_stop.stop_when
    if done is not None and done not in {one.name for one in diagnoses}:
        diagnoses.append(DIAGNOSES[done]())
    return [health_of(diagnoses, objective), *(rule_of(settings) for settings in conditions)]


def health_of(stopping: Sequence[Diagnosis], objective: Objective | None = None) -> Health:
    """Return the health of a trial with all diagnoses, of which those in `stopping` stop it, with their settings."""
    given = {one.name: one for one in stopping}
    return Health(
        diagnoses=tuple(given.get(name) or kind() for name, kind in DIAGNOSES.items()),
        stopping=frozenset(given),
        versions={name: rule_version(one) for name, one in given.items()},
        objective=objective,
    )


def rule_of(settings: RuleSettings, objective: Objective | None = None) -> Rule:
    """Return the rule with these settings. The rule of a diagnosis makes that diagnosis only."""
    if isinstance(settings, Diagnosis):
        return Health(
            diagnoses=(settings,),
            stopping=frozenset({settings.name}),
            versions={settings.name: rule_version(settings)},
            objective=objective,
            name=settings.name,
        )
    return ConditionRule(
        condition=settings.condition(),
        grace_steps=settings.grace_steps,
        patience=settings.patience,
        every=settings.every,
        version=rule_version(settings),
    )
