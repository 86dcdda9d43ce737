"""Calibrate a rule: choose the highest thresholds with which it flags at most a share `alpha` of learners. Pure.

The method is split conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world";
Papadopoulos et al. 2002, "Inductive confidence machines for regression"). The *score* of a learner is the highest
threshold with which the rule never flags it. Of `n` learners, the threshold is the score of rank
`k = floor(alpha (n + 1))`, lowest first. A new learner that is exchangeable with them is flagged only if its own score
is below the threshold, so only if it is among the `k` lowest of `n + 1`. The probability of that is at most `alpha` for
any distribution of scores. With fewer than `1 / alpha - 1` learners there is no such threshold.

The probability is also over the recorded learners: it is a mean over calibrations. If scores have no ties, the rate of
one calibration has the distribution Beta(k, n + 1 - k): with 19 learners and 5%, it is above 10% in one calibration of
seven. More learners make it narrower.

If a rule has several lower thresholds, such as `stalled`, all of them are multiplied by one factor, and the score is a
factor. So the promise holds for the whole rule; separate calibrations would use `alpha` for each threshold.

The diagnosis `vanishing_gradient` is scored on reach alone (`on_reach`), without its test of the loss. The diagnosis
fires only if reach alone would, so the promise holds for the diagnosis too, and the threshold is rather too low than
too high. Of its two thresholds, the one that applies to the recorded learners is calibrated: `below_thin` for networks
of fewer than eight layers or without a reported loss, else `below`. If there are learners of both kinds, both are
multiplied by one factor.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from fractions import Fraction

from sweeper.errors import UsageError
from sweeper.record.events import Event, Observation
from sweeper.rules import ConditionRule, Rule, first_decision, rule_of
from sweeper.rules.base import Condition, Finding, RuleSettings
from sweeper.rules.calibration.audit import rule_version
from sweeper.rules.conditions import Stalled, UpdateRatio
from sweeper.rules.conditions.combined import all_of, any_of
from sweeper.rules.diagnoses import VanishingGradient
from sweeper.rules.diagnoses.vanishing_gradient import is_thin
from sweeper.rules.settings import AllOf, AnyOf
from sweeper.rules.signals.signals import Signals

History = Sequence[Event]
DIGITS = 3
"""Number of significant digits of a threshold, which is rounded down to keep the promise."""
HIGHEST_SHARE = 0.999
SHOWN = 12
DEEP, THIN = frozenset({"below_thin"}), frozenset({"below"})
"""The threshold of `vanishing_gradient` that stays as given if all learners are deep, and if all are thin."""


# ---- the order statistic ---------------------------------------------------------------------------------------------


def learners_needed(alpha: float) -> int:
    """Return the minimum number of learners for a threshold: 19 for 5%. `alpha` is 0 to 1, both excluded."""
    return math.ceil(1 / _exact(alpha)) - 1


def rank_of(learners: int, alpha: float) -> int:
    """Return the rank of the score that is the threshold, from 1, lowest first; 0 if there are too few learners."""
    return math.floor(_exact(alpha) * (learners + 1))


def conformal_threshold(scores: Sequence[float], alpha: float) -> float:
    """Return the highest threshold with which a new learner is flagged with a probability of at most `alpha`.

    Args:
        scores: for each recorded learner, the highest threshold with which it is not flagged.
        alpha: 0 to 1, both excluded; interpreted as the decimal number that it is written as.

    Raises:
        ValueError: there are too few scores; see `learners_needed`.
    """
    rank = rank_of(len(scores), alpha)
    if rank == 0:
        message = f"expected at least {learners_needed(alpha)} scores for {alpha}, got {len(scores)}"
        raise ValueError(message)
    return sorted(scores)[rank - 1]


def _exact(alpha: float) -> Fraction:
    """Return the fraction that the decimal number means: 0.29 * 100 would round down to 28."""
    return Fraction(str(alpha))


# ---- a rule as a family of rules with different thresholds -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """The rules that result when all lower thresholds of a rule are multiplied by a factor.

    If the rule has one lower threshold, the factor is the threshold itself, in the unit of its statistic. The
    thresholds of `vanishing_gradient` in `kept` stay as given.
    """

    settings: RuleSettings
    kept: frozenset[str] = DEEP

    @property
    def thresholds(self) -> list[tuple[str, float]]:
        """The lower thresholds as given, by name."""
        return list(_thresholds(self.settings, self.kept))

    @property
    def is_single(self) -> bool:
        """Whether the rule has one lower threshold, so that the factor is the threshold."""
        return len(self.thresholds) == 1

    def at(self, factor: float) -> RuleSettings:
        """Return the rule with this factor, without validation or rounding."""
        return _mapped(self.settings, self.kept, lambda _, given: factor if self.is_single else given * factor)

    def written(self, factor: float) -> RuleSettings:
        """Return the rule with this factor for a sweep file: thresholds are rounded down, and shares are below 1."""

        def value(name: str, given: float) -> float:
            threshold = factor if self.is_single else given * factor
            return _rounded_down(threshold if name == "low" else min(threshold, HIGHEST_SHARE))

        return _mapped(self.settings, self.kept, value)

    def score(self, history: History) -> float:
        """Return the highest factor with which the rule never flags the run.

        The rule itself is replayed (`on_reach`). Its decision changes only at a factor at which a finding of one of its
        conditions changes, and only once.

        Returns:
            0 if the rule flags the run with any factor, infinity if with none.
        """
        flips = sorted(set(self._flips(history)))
        between = [(low + high) / 2 for low, high in itertools.pairwise(flips)]
        above = [*between, *(2 * flip + 1 for flip in flips[-1:])]
        first = bisect.bisect_left(above, 1, key=lambda factor: int(self.flagged_at(history, factor) is not None))
        lowest = flips[0] / 2 if flips else 1.0
        if first == 0 and lowest > 0 and self.flagged_at(history, lowest) is not None:
            return 0.0
        return flips[first] if first < len(flips) else math.inf

    def flagged_at(self, history: History, factor: float) -> int | None:
        """Return the step at which the rule with this factor, on reach alone, flags the run; None if it never does."""
        decision = first_decision(on_reach(self.at(factor)), history)
        return None if decision is None else decision.step

    def _flips(self, history: History) -> Iterator[float]:
        """Yield the factors from which on an observation is below its threshold."""
        for condition in _from_below(self.at(1.0)):
            state = condition.start()
            for event in history:
                state, finding = condition.step(state, event)
                if finding is None:
                    continue
                _, evidence = finding.reason()
                median, threshold = evidence["median"], evidence["threshold"]
                if isinstance(median, float) and isinstance(threshold, float) and 0 < threshold < math.inf > median:
                    yield median / threshold


def verdict(settings: RuleSettings, history: History) -> int | None:
    """Return the step at which a rule flags a run; None if it never does."""
    decision = first_decision(rule_of(settings), history)
    return None if decision is None else decision.step


def on_reach(settings: RuleSettings) -> Rule:
    """Return the rule with `vanishing_gradient` reduced to its test of reach; other rules are unchanged."""
    if not isinstance(settings, VanishingGradient | AllOf | AnyOf):
        return rule_of(settings)
    return ConditionRule(
        condition=_reach_condition(settings),
        grace_steps=settings.grace_steps,
        patience=settings.patience,
        every=settings.every,
        version=rule_version(settings),
    )


def _reach_condition(settings: RuleSettings) -> Condition:
    match settings:
        case VanishingGradient():
            return _OnReach(settings)
        case AllOf():
            return all_of([_reach_condition(one) for one in settings.of])
        case AnyOf():
            return any_of([_reach_condition(one) for one in settings.of])
    return settings.condition()


@dataclass(frozen=True, slots=True)
class _OnReach:
    """The condition of `vanishing_gradient` without its test of the loss and the score."""

    settings: VanishingGradient
    name: str = "vanishing_gradient"

    def start(self) -> Signals:
        """Return the state before the first event."""
        return Signals()

    def step(self, state: Signals, event: Event) -> tuple[Signals, Finding | None]:
        """Return the state after the event, and at an observation whether reach is below its threshold."""
        if not state.take(event) or not isinstance(event, Observation):
            return state, None
        reach, threshold = self.settings.statistic(state), self.settings.threshold(state)
        if math.isnan(reach):
            return state, None
        evidence: dict[str, object] = {"statistic": "reach", "median": reach, "threshold": threshold}
        explanation = f"reach is {reach:.3g}, and the threshold is {threshold:.3g}", evidence
        return state, Finding(step=event.step, holds=reach < threshold, reason=lambda: explanation)


def _thresholds(settings: RuleSettings, kept: frozenset[str]) -> Iterator[tuple[str, float]]:
    if isinstance(settings, AllOf | AnyOf):
        for one in settings.of:
            yield from _thresholds(one, kept)
    for name in settings.lower_thresholds:
        stays = isinstance(settings, VanishingGradient) and name in kept
        if not stays and (value := getattr(settings, name)) is not None:
            yield name, value


def _mapped(settings: RuleSettings, kept: frozenset[str], value: Callable[[str, float], float]) -> RuleSettings:
    if isinstance(settings, AllOf | AnyOf):
        return settings.model_copy(update={"of": tuple(_mapped(one, kept, value) for one in settings.of)})
    return settings.model_copy(update={name: value(name, given) for name, given in _thresholds(settings, kept)})


def _kept(learners: Sequence[History]) -> frozenset[str]:
    """Return the thresholds of `vanishing_gradient` that apply to none of the learners."""
    kinds = {_is_thin(history) for history in learners}
    return frozenset() if len(kinds) > 1 else THIN if kinds == {True} else DEEP


def _is_thin(history: History) -> bool:
    signals = Signals()
    for event in history:
        signals.take(event)
    return is_thin(signals)


def _from_below(settings: RuleSettings) -> list[Condition]:
    """Return the conditions of a rule that have lower thresholds, without their upper ones."""
    match settings:
        case Stalled():
            return settings.collapses()
        case VanishingGradient():
            return [_reach_condition(settings)]
        case UpdateRatio():
            return [settings.model_copy(update={"high": None}).condition()]
        case AllOf() | AnyOf():
            return [condition for one in settings.of for condition in _from_below(one)]
    return []


def _rounded_down(value: float) -> float:
    """Round down the shortest decimal of a number to `DIGITS` digits, so that 0.3 stays 0.3."""
    return float(Context(prec=DIGITS, rounding=ROUND_FLOOR).create_decimal(repr(value)))


# ---- the calibration -------------------------------------------------------------------------------------------------


PROMISE = (
    "A learner is flagged with a probability of at most {alpha:g}, on average over calibrations. This holds for runs "
    "that are exchangeable with the recorded ones, but not after a change of the search space, the model or the data."
)
"""The promise of a calibration and its limits, to be formatted with `alpha`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A rule with calibrated thresholds.

    Attributes:
        family: the rule as given, and the rules with other thresholds.
        alpha: the allowed share of flagged learners.
        scores: the scores of the learners, lowest first.
        rank: the rank of the chosen score.
        factor: the chosen score.
        rule: the calibrated rule.
        stalls: the number of recorded stalls.
        caught: the steps at which `rule` flags recorded stalls.
        before: the steps at which the rule as given flags recorded stalls.
        lost: the number of recorded learners that `rule` flags.
        lost_before: the number of recorded learners that the rule as given flags.
    """

    family: Family
    alpha: float
    scores: tuple[float, ...]
    rank: int
    factor: float
    rule: RuleSettings
    stalls: int
    caught: tuple[int, ...]
    before: tuple[int, ...]
    lost: int
    lost_before: int

    def text(self) -> str:
        """Return the calibration as text for users, without the lines for the sweep file."""
        what = self.family.thresholds[0][0] if self.family.is_single else f"times {_listed(self.family.thresholds)}"
        thresholds, count = _listed(Family(self.rule, self.family.kept).thresholds), len(self.scores)
        name = rule_of(self.rule).name
        if math.isinf(self.factor):
            found = f"threshold: as given, {thresholds}; any threshold flags no more learners than allowed"
        else:
            found = f"threshold: {thresholds}, which is the score of rank {self.rank} of {count}, rounded down"
        return "\n".join(
            [
                f"{name}: scores of the {count} learners ({what}), lowest first: {_short(self.scores)}",
                found,
                self._counts("with this threshold", self.caught, self.lost),
                self._counts("as given", self.before, self.lost_before),
            ]
        )

    def _counts(self, which: str, steps: Sequence[int], lost: int) -> str:
        at = f" (at steps {', '.join(map(str, steps))})" if steps else ""
        stalls, learners = (
            f"{len(steps)} of {self.stalls} recorded stalls{at}",
            f"{lost} of {len(self.scores)} learners",
        )
        return f"{which}, the rule flags {stalls} and {learners}"


def calibrate(
    settings: RuleSettings, learners: Sequence[History], stalls: Sequence[History], alpha: float
) -> Calibration:
    """Return the rule with the highest thresholds that the recorded learners allow.

    Args:
        settings: the rule; only the ratios between its thresholds matter.
        learners: the histories of all recorded learners, whether or not a rule had flagged them.
        stalls: the histories of recorded stalls, which only show how many the rule catches.
        alpha: the share of learners that may be flagged, 0 to 1, both excluded.

    Raises:
        UsageError: the rule has no lower threshold, there are too few learners, or no threshold above 0 is low enough.
    """
    family = Family(settings, _kept(learners))
    if not family.thresholds:
        raise UsageError("expected a rule with a lower threshold: stalled, vanishing_gradient or update_ratio")
    needed = learners_needed(alpha)
    if len(learners) < needed:
        raise UsageError(_too_few(len(learners), needed, alpha))
    scores = tuple(sorted(family.score(history) for history in learners))
    factor, rank = conformal_threshold(scores, alpha), rank_of(len(scores), alpha)
    if factor == 0:
        always = sum(score == 0 for score in scores)
        raise UsageError(
            f"no threshold above 0 is low enough: with any, the rule flags {always} of {len(scores)} learners, and "
            f"--alpha {alpha:g} allows {rank - 1}"
        )
    rule = settings if math.isinf(factor) else family.written(factor)
    return Calibration(
        family=family,
        alpha=alpha,
        scores=scores,
        rank=rank,
        factor=factor,
        rule=rule,
        stalls=len(stalls),
        caught=_steps(rule, stalls),
        before=_steps(settings, stalls),
        lost=len(_steps(rule, learners)),
        lost_before=len(_steps(settings, learners)),
    )


def _too_few(learners: int, needed: int, alpha: float) -> str:
    lowest = math.ceil(1000 / (learners + 1)) / 1000
    hint = f"; {learners} learners are enough for --alpha {lowest:g}" if learners > 1 else ""
    return (
        f"expected at least {needed} recorded learners for --alpha {alpha:g}, got {learners}: "
        f"record {needed - learners} more{hint}"
    )


def _steps(settings: RuleSettings, histories: Sequence[History]) -> tuple[int, ...]:
    return tuple(sorted(step for history in histories if (step := verdict(settings, history)) is not None))


def _listed(thresholds: Sequence[tuple[str, float]]) -> str:
    return " and ".join(f"{name} {value:g}" for name, value in thresholds)


def _short(scores: Sequence[float]) -> str:
    texts = [f"{score:.3g}" if math.isfinite(score) else "never" for score in scores]
    return " ".join(texts if len(texts) <= SHOWN else [*texts[: SHOWN - 2], "...", texts[-1]])
