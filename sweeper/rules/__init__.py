"""Early-stop rules: pure reducers over a trial's history, whose decisions carry their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sweeper.record.needs import AUTOMATIC, NO_LOSS
from sweeper.rules import conditions
from sweeper.rules.audit import rule_version
from sweeper.rules.conditions import Condition, all_of, any_of
from sweeper.rules.decision import Decision, Rule, first_decision
from sweeper.rules.rule import ConditionRule
from sweeper.rules.settings import (
    AllOf,
    AnyOf,
    ExplodingGradient,
    NonFinite,
    Plateau,
    RuleSettings,
    Stalled,
    StopSettings,
    UpdateRatio,
    VanishingGradient,
    ZeroGradient,
)

__all__ = ["ConditionRule", "Decision", "HasRules", "Rule", "first_decision", "parts_of_stalled", "rule_of", "rules_of"]


class HasRules(Protocol):
    """Something with the settings of rules, such as the key `early_stop` of a sweep."""

    @property
    def rules(self) -> Sequence[StopSettings]:
        """The settings, in the order of the sweep file."""


def rules_of(early_stop: HasRules | None) -> list[Rule]:
    """Return the rules on one trial that `early_stop` names, without its pruners; none for a sweep without the key."""
    rules = () if early_stop is None else early_stop.rules
    return [rule_of(settings) for settings in rules if isinstance(settings, RuleSettings)]


def rule_of(settings: RuleSettings) -> ConditionRule:
    """Return the rule with these settings."""
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
        case VanishingGradient(below=below, of_start=of_start, window=window):
            return conditions.VanishingGradient(below=below, of_start=of_start, window=window)
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
        case NonFinite(metric=metric):
            return conditions.NonFinite(metric=metric)
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
