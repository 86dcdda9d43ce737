"""Thresholds from recorded learners: the highest under which a rule condemns at most a part `alpha` of them; pure.

Split conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Papadopoulos and
others 2002, "Inductive confidence machines for regression"). The *score* of a learner is the highest threshold under
which the rule lets it live, over its whole run. Of `n` learners, the threshold is the score with the rank
`k = floor(alpha (n + 1))`, the lowest first. A further learner that is exchangeable with them is condemned only if its
own score is below that, so only if it is among the `k` lowest of `n + 1`: with a probability of at most `alpha`,
however the scores are distributed. Fewer than `1 / alpha - 1` learners allow no threshold at all.

The probability is over the recorded learners too: it is a mean over calibrations. Where scores have no ties, the rate
of one calibration is distributed as Beta(k, n + 1 - k): with 19 learners and 5%, it is over 10% in one calibration of
seven. More learners narrow it.

A rule with several thresholds from below, like `stalled`, has all of them multiplied by a common factor, and the score
is a factor. That keeps the promise for the rule as a whole; a threshold at a time would spend `alpha` on each.

The diagnosis `vanishing_gradient` is scored on reach alone (`on_reach`), without its look at the loss. The diagnosis
fires only where reach alone would, so the promise holds for the diagnosis too, and the threshold is rather too low than
too high. Of its two thresholds, the one that counts for the recorded learners is calibrated: `below_thin` for networks
of fewer than eight layers and where no loss is reported, else `below`. Where there are learners of both kinds, both are
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
from sweeper.rules import ConditionRule, Rule, conditions, parts_of_stalled, rule_of
from sweeper.rules.audit import rule_version
from sweeper.rules.base import RuleSettings
from sweeper.rules.decision import first_decision
from sweeper.rules.diagnoses import Diagnosis, VanishingGradient
from sweeper.rules.diagnoses.vanishing_gradient import is_thin
from sweeper.rules.health import DiagnosisCondition
from sweeper.rules.settings import AllOf, AnyOf, Stalled, UpdateRatio
from sweeper.rules.signals import Signals

History = Sequence[Event]
DIGITS = 3
"""Significant digits of a threshold; it is rounded down, which keeps the promise."""
HIGHEST_PART = 0.999
SHOWN = 12
DEEP, THIN = frozenset({"below_thin"}), frozenset({"below"})
"""The threshold of `vanishing_gradient` that stays as given where all learners are deep, and where all are thin."""


# ---- the order statistic ---------------------------------------------------------------------------------------------


def learners_needed(alpha: float) -> int:
    """How many learners a threshold for `alpha` takes, at least: 19 for 5%. `alpha` is 0 to 1, both excluded."""
    return math.ceil(1 / _exact(alpha)) - 1


def rank_of(learners: int, alpha: float) -> int:
    """Which of the scores is the threshold, from 1, the lowest first; 0 where there are too few learners."""
    return math.floor(_exact(alpha) * (learners + 1))


def conformal_threshold(scores: Sequence[float], alpha: float) -> float:
    """The highest threshold under which a further learner is condemned with a probability of at most `alpha`.

    Args:
        scores: of each recorded learner, the highest threshold under which it lives.
        alpha: 0 to 1, both excluded; taken as the decimal number that it is written as.

    Raises:
        ValueError: there are too few scores; see `learners_needed`.
    """
    rank = rank_of(len(scores), alpha)
    if rank == 0:
        message = f"expected at least {learners_needed(alpha)} scores for {alpha}, got {len(scores)}"
        raise ValueError(message)
    return sorted(scores)[rank - 1]


def _exact(alpha: float) -> Fraction:
    """0.29 is 29 of 100, not a little less: 0.29 * 100 rounds down to 28."""
    return Fraction(str(alpha))


# ---- a rule as a family, by its threshold ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Family:
    """A rule with all of its thresholds from below multiplied by a factor.

    Of a rule with one such threshold the factor is the threshold itself, in the unit of its statistic. Thresholds of
    `vanishing_gradient` that are in `kept` stay as given.
    """

    settings: RuleSettings
    kept: frozenset[str] = DEEP

    @property
    def thresholds(self) -> list[tuple[str, float]]:
        """The thresholds from below as given, by name."""
        return list(_thresholds(self.settings, self.kept))

    @property
    def is_single(self) -> bool:
        """Whether the factor is the threshold."""
        return len(self.thresholds) == 1

    def at(self, factor: float) -> RuleSettings:
        """The rule with this factor; nothing is checked or rounded."""
        return _mapped(self.settings, self.kept, lambda _, given: factor if self.is_single else given * factor)

    def written(self, factor: float) -> RuleSettings:
        """The rule with this factor as a sweep file can have it: each threshold rounded down, and a part below 1."""

        def value(name: str, given: float) -> float:
            threshold = factor if self.is_single else given * factor
            return _rounded_down(threshold if name == "low" else min(threshold, HIGHEST_PART))

        return _mapped(self.settings, self.kept, value)

    def score(self, history: History) -> float:
        """The highest factor with which the rule lets the run live, over all of its history.

        0 where it condemns it with any, infinite where with none. Asked of the rule itself (`on_reach`): its verdict
        changes only where a look of one of its conditions does, and then for good.
        """
        flips = sorted(set(self._flips(history)))
        between = [(low + high) / 2 for low, high in itertools.pairwise(flips)]
        above = [*between, *(2 * flip + 1 for flip in flips[-1:])]
        first = bisect.bisect_left(above, 1, key=lambda factor: int(self.condemned(history, factor) is not None))
        lowest = flips[0] / 2 if flips else 1.0
        if first == 0 and lowest > 0 and self.condemned(history, lowest) is not None:
            return 0.0
        return flips[first] if first < len(flips) else math.inf

    def condemned(self, history: History, factor: float) -> int | None:
        """Return the step at which the rule with this factor, on reach alone, flags the run; None if it never does."""
        decision = first_decision(on_reach(self.at(factor)), history)
        return None if decision is None else decision.step

    def _flips(self, history: History) -> Iterator[float]:
        """The factors from which on a look is below its threshold."""
        for condition in _from_below(self.at(1.0)):
            state = condition.start()
            for event in history:
                state, finding = condition.step(state, event)
                if finding is None:
                    continue
                evidence = finding.evidence
                median, threshold = evidence["median"], evidence["threshold"]
                if isinstance(median, float) and isinstance(threshold, float) and 0 < threshold < math.inf > median:
                    yield median / threshold


def verdict(settings: RuleSettings, history: History) -> int | None:
    """At which step a rule condemns a run; None where it does not."""
    decision = first_decision(rule_of(settings), history)
    return None if decision is None else decision.step


def on_reach(settings: RuleSettings) -> Rule:
    """Return the rule in which `vanishing_gradient` reads reach alone; any other rule is the rule itself."""
    if not isinstance(settings, VanishingGradient | AllOf | AnyOf):
        return rule_of(settings)
    return ConditionRule(
        condition=_reach_condition(settings),
        grace_steps=settings.grace_steps,
        patience=settings.patience,
        every=settings.every,
        version=rule_version(settings),
    )


def _reach_condition(settings: RuleSettings) -> conditions.Condition:
    match settings:
        case VanishingGradient():
            return _OnReach(settings)
        case AllOf():
            return conditions.all_of([_reach_condition(one) for one in settings.of])
        case AnyOf():
            return conditions.any_of([_reach_condition(one) for one in settings.of])
        case Diagnosis():
            return DiagnosisCondition(settings)
    rule = rule_of(settings)
    if not isinstance(rule, ConditionRule):
        raise TypeError(settings)
    return rule.condition


@dataclass(frozen=True, slots=True)
class _OnReach:
    """The condition of `vanishing_gradient` without its look at the loss and the score."""

    settings: VanishingGradient
    name: str = "vanishing_gradient"

    def start(self) -> Signals:
        """Return the state before the first event."""
        return Signals()

    def step(self, state: Signals, event: Event) -> tuple[Signals, conditions.Finding | None]:
        """Take in an event; return whether reach is below its threshold, at an observation."""
        if not state.take(event) or not isinstance(event, Observation):
            return state, None
        reach, threshold = self.settings.statistic(state), self.settings.threshold(state)
        if math.isnan(reach):
            return state, None
        evidence: dict[str, object] = {"statistic": "reach", "median": reach, "threshold": threshold}
        told = f"reach is {reach:.3g}, the threshold {threshold:.3g}", evidence
        return state, conditions.Finding(step=event.step, holds=reach < threshold, tell=lambda: told)


_NAMES = {
    Stalled: ("below", "ratio_of_start"),
    VanishingGradient: ("below", "below_thin", "of_start"),
    UpdateRatio: ("low", "of_start"),
}


def _thresholds(settings: RuleSettings, kept: frozenset[str]) -> Iterator[tuple[str, float]]:
    if isinstance(settings, AllOf | AnyOf):
        for one in settings.of:
            yield from _thresholds(one, kept)
    for name in _NAMES.get(type(settings), ()):
        stays = isinstance(settings, VanishingGradient) and name in kept
        if not stays and (value := getattr(settings, name)) is not None:
            yield name, value


def _mapped(settings: RuleSettings, kept: frozenset[str], value: Callable[[str, float], float]) -> RuleSettings:
    if isinstance(settings, AllOf | AnyOf):
        return settings.model_copy(update={"of": tuple(_mapped(one, kept, value) for one in settings.of)})
    return settings.model_copy(update={name: value(name, given) for name, given in _thresholds(settings, kept)})


def _kept(learners: Sequence[History]) -> frozenset[str]:
    """Return which thresholds of `vanishing_gradient` count for none of the learners."""
    kinds = {_is_thin(history) for history in learners}
    return frozenset() if len(kinds) > 1 else THIN if kinds == {True} else DEEP


def _is_thin(history: History) -> bool:
    signals = Signals()
    for event in history:
        signals.take(event)
    return is_thin(signals)


def _from_below(settings: RuleSettings) -> list[conditions.Condition]:
    """The conditions of a rule that have thresholds from below, with these alone."""
    match settings:
        case Stalled():
            return parts_of_stalled(settings)
        case VanishingGradient():
            return [_reach_condition(settings)]
        case UpdateRatio(low=low, of_start=of_start, scheduled=scheduled, window=window):
            return [conditions.UpdateRatio(low=low, high=None, of_start=of_start, scheduled=scheduled, window=window)]
        case AllOf() | AnyOf():
            return [condition for one in settings.of for condition in _from_below(one)]
    return []


def _rounded_down(value: float) -> float:
    """To so many digits of its shortest decimal, so that 0.3 stays 0.3."""
    return float(Context(prec=DIGITS, rounding=ROUND_FLOOR).create_decimal(repr(value)))


# ---- the calibration -------------------------------------------------------------------------------------------------


PROMISE = (
    "A learner is condemned with a probability of at most {alpha:g}, in the mean over calibrations. That holds for "
    "runs that are exchangeable with the recorded ones: it ends where the search space, the model or the data change."
)
"""What a calibration promises, and where that ends; of `alpha`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What recorded trials say of a rule's threshold.

    `scores` are those of the learners, the lowest first; `factor` is the score of rank `rank`; `rule` has it. `caught`
    are the steps at which `rule` condemns recorded stalls, `before` those at which the rule as given does, and `lost`
    and `lost_before` count the recorded learners that they condemn.
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
        """The calibration for people, without the lines to paste."""
        what = self.family.thresholds[0][0] if self.family.is_single else f"times {_listed(self.family.thresholds)}"
        thresholds, count = _listed(Family(self.rule, self.family.kept).thresholds), len(self.scores)
        name = rule_of(self.rule).name
        if math.isinf(self.factor):
            found = f"threshold: as given, {thresholds}; with any, the rule condemns no more learners than it may"
        else:
            found = f"threshold: {thresholds}; the score of rank {self.rank} of {count}, rounded down"
        return "\n".join(
            [
                f"{name}: scores of the {count} learners ({what}), the lowest first: {_short(self.scores)}",
                found,
                self._condemns("with it", self.caught, self.lost),
                self._condemns("as given", self.before, self.lost_before),
            ]
        )

    def _condemns(self, which: str, steps: Sequence[int], lost: int) -> str:
        at = f" (at steps {', '.join(map(str, steps))})" if steps else ""
        stalls, learners = (
            f"{len(steps)} of {self.stalls} recorded stalls{at}",
            f"{lost} of {len(self.scores)} learners",
        )
        return f"{which}, the rule condemns {stalls} and {learners}"


def calibrate(
    settings: RuleSettings, learners: Sequence[History], stalls: Sequence[History], alpha: float
) -> Calibration:
    """The rule with the highest thresholds that recorded learners allow.

    Args:
        settings: the rule; of its thresholds only their ratios to each other count.
        learners: the histories of recorded learners, all of them, whether or not a rule had condemned them.
        stalls: those of recorded stalls; they only show what the rule catches.
        alpha: the part of learners that may be condemned, 0 to 1, both excluded.

    Raises:
        UsageError: the rule has no threshold from below, there are too few learners, or no threshold will do.
    """
    family = Family(settings, _kept(learners))
    if not family.thresholds:
        raise UsageError("expected a rule with a threshold from below: stalled, vanishing_gradient or update_ratio")
    needed = learners_needed(alpha)
    if len(learners) < needed:
        raise UsageError(_too_few(len(learners), needed, alpha))
    scores = tuple(sorted(family.score(history) for history in learners))
    factor, rank = conformal_threshold(scores, alpha), rank_of(len(scores), alpha)
    if factor == 0:
        always = sum(score == 0 for score in scores)
        raise UsageError(
            f"no threshold above 0 will do: with any, the rule condemns {always} of {len(scores)} learners, and "
            f"{alpha:g} allows {rank - 1}"
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
    least = f"; with these, --alpha {math.ceil(1000 / (learners + 1)) / 1000:g} is the least" if learners > 1 else ""
    return (
        f"expected at least {needed} recorded learners for --alpha {alpha:g}, got {learners}: "
        f"{needed - learners} more are needed{least}"
    )


def _steps(settings: RuleSettings, histories: Sequence[History]) -> tuple[int, ...]:
    return tuple(sorted(step for history in histories if (step := verdict(settings, history)) is not None))


def _listed(thresholds: Sequence[tuple[str, float]]) -> str:
    return " and ".join(f"{name} {value:g}" for name, value in thresholds)


def _short(scores: Sequence[float]) -> str:
    texts = [f"{score:.3g}" if math.isfinite(score) else "never" for score in scores]
    return " ".join(texts if len(texts) <= SHOWN else [*texts[: SHOWN - 2], "...", texts[-1]])
