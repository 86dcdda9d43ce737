"""Early-stop rules: pure reducers over a trial's history, whose decisions carry their evidence."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper import spec
from sweeper.record.needs import AUTOMATIC, NO_LOSS
from sweeper.rules.audit import rule_version
from sweeper.rules.conditions import (
    Condition,
    ExplodingGradient,
    NoGain,
    NonFinite,
    Plateau,
    UpdateRatio,
    VanishingGradient,
    ZeroGradient,
    all_of,
    any_of,
)
from sweeper.rules.decision import Decision, Rule, first_decision
from sweeper.rules.rule import ConditionRule
from sweeper.spec import EarlyStop

__all__ = ["ConditionRule", "Decision", "Rule", "first_decision", "rule_of", "rules_of"]


def rules_of(early_stop: EarlyStop | None) -> list[Rule]:
    """The conditions that a sweep file names; none where it has no `early_stop`. Pruners are not among them."""
    rules = () if early_stop is None else early_stop.rules
    return [rule_of(settings) for settings in rules if isinstance(settings, spec.RuleSettings)]


def rule_of(settings: spec.RuleSettings) -> ConditionRule:
    """The rule of a condition in `early_stop.rules`."""
    return ConditionRule(
        condition=_condition(settings),
        grace_steps=settings.grace_steps,
        patience=settings.patience,
        every=settings.every,
        version=rule_version(settings),
    )


def _condition(settings: spec.RuleSettings) -> Condition:
    match settings:
        case spec.Stalled():
            return _stalled(settings)
        case spec.VanishingGradient():
            return VanishingGradient(below=settings.below, of_start=settings.of_start, window=settings.window)
        case spec.UpdateRatio():
            return UpdateRatio(
                low=settings.low,
                high=settings.high,
                of_start=settings.of_start,
                scheduled=settings.scheduled,
                window=settings.window,
            )
        case spec.ExplodingGradient():
            return ExplodingGradient(times=settings.times, above=settings.above, window=settings.window)
        case spec.ZeroGradient():
            return ZeroGradient(share=settings.share, window=settings.window)
        case spec.NonFinite():
            return NonFinite(metric=settings.metric)
        case spec.Plateau():
            return Plateau(metric=settings.metric, prior=settings.prior, gain=settings.gain, window=settings.window)
        case spec.AllOf():
            return all_of(_conditions(settings.of))
        case spec.AnyOf():
            return any_of(_conditions(settings.of))
    raise TypeError(settings)


def _conditions(settings: Sequence[spec.RuleSettings]) -> list[Condition]:
    return [_condition(one) for one in settings]


def _stalled(settings: spec.Stalled) -> Condition:
    """The gradient does not reach the first layers, or the weights hardly move; and the loss gains nothing."""
    gone: list[Condition] = [VanishingGradient(below=settings.below, window=settings.window)]
    if settings.ratio_of_start is not None:
        gone.append(UpdateRatio(of_start=settings.ratio_of_start, window=settings.window))
    dead = any_of(gone)
    if settings.loss == NO_LOSS:
        return any_of([dead], name="stalled")
    metric = None if settings.loss == AUTOMATIC else settings.loss
    return all_of([dead, NoGain(metric=metric, gain=settings.gain, window=settings.window)], name="stalled")
