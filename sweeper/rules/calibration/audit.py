"""How often a rule condemns who would have learned: the coin of the audit, and what its outcomes allow to say; pure.

Some condemned trials, drawn by a coin, run on to their end. One that turns out a learner is a *false prune*. The share
of false prunes among the condemned, `p`, is bounded after every outcome, and somebody acts on the bound as soon as it
is good or bad enough: a bound for a fixed number of audits does not allow that, one from an e-process does.

**The bound.** To doubt that `p` is at least `p0`, bet against it: of a capital of 1, a bettor stakes in each round that
the audited trial is no learner, at the odds that are fair if `p = p0`. One that keeps the part `r` of its capital after
a learner has `(1 - r p0) / (1 - p0)` times as much after a stall. If `p >= p0`, no bettor, nor a portfolio of them that
splits the first capital, is expected to gain: the capital is a supermartingale, and reaches `1 / delta` ever with a
probability of at most `delta` (Ville 1939, "Étude critique de la notion de collectif"). So the `p0` against which the
capital has reached `1 / delta` can be ruled out, at any time, however one chose when to look: Waudby-Smith and Ramdas
2024, "Estimating means of bounded random variables by betting", JRSS B 86. Against `p <= p0` one bets the other way.

**The trade.** Who stakes everything (`r = 0`) needs `log(1 / delta) / -log(1 - p0)` stalls in a row, as few as a fixed
sample would: 59 for 5% at 95%. But one false prune ruins him for ever. `DOUBTS_MANY` gives him 95% of the capital, and
the rest to one who keeps a fifth. At 5% and 95% it needs as many audits:

    false prunes                            0    1    2    3
    this portfolio                         59  186  226  266
    the capital split in half              65  133  169  205   (r = 0 and 0.25)
    only one that keeps a quarter          78  115  151  188
    a fixed sample (Clopper and Pearson)   59   93  124  153   (and no look before)

`DOUBTS_FEW`, for the breaker, splits evenly between three that keep more or less after a stall, good against rates
of about twice, four times and eight times 5%: one false prune never breaks at 5%; 2 of 3 audits do, 3 of 8, 4 of 15.

What is assumed: given the outcomes before, each audited trial is a learner with probability `p`. That holds where the
coin is independent of the trials, and each is counted once, however it ended.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.rules.base import StopSettings
from sweeper.rules.calibration.intervals import clopper_pearson

RULES_VERSION = 1
"""Raised where a rule with the same settings would decide otherwise than before: what was measured then is void."""

DELTA = 0.05
"""How often a statement about a rule may be wrong, over all times that somebody looks."""

DOUBTS_MANY = ((0.0, 0.95), (0.2, 0.05))
DOUBTS_FEW = ((0.6, 1 / 3), (0.85, 1 / 3), (0.95, 1 / 3))
"""Bettors: the part of the capital that each keeps when it loses, and its share of the first capital."""

BISECTIONS = 60


# ---- the coin --------------------------------------------------------------------------------------------------------


def rule_version(rule: StopSettings) -> str:
    """Return the rule's name and a hash of all its settings and of `RULES_VERSION`: ``stalled-af607b23``.

    Audit outcomes are pooled by this string, so the outcomes of one version say nothing about another version.
    """
    text = json.dumps([RULES_VERSION, rule.name, rule.model_dump(mode="json")], sort_keys=True)
    return f"{rule.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def seed_of(name: str) -> int:
    """The seed of a sweep's coins, of its name; 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def is_audited(seed: int, number: int, rule: str, rate: float) -> bool:
    """Whether a trial that the rule condemns runs on: a coin that shows the same in every process, at every time.

    A hash, no stream of random numbers: it does not depend on who is condemned first, nor on anything that the trial
    does. Raising the rate only adds to who is audited.

    Args:
        seed: of the sweep.
        number: of the trial.
        rule: the version of the rule.
        rate: the part of the condemned that is audited, 0 to 1.

    Raises:
        ValueError: the rate is out of its range.
    """
    if not 0 <= rate <= 1:
        message = f"expected a rate of 0 to 1, got {rate}"
        raise ValueError(message)
    digest = hashlib.sha256(f"{seed}/{number}/{rule}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < rate * 2**64


# ---- the bound -------------------------------------------------------------------------------------------------------


def log_capital(hits: int, misses: int, probability: float, bettors: Sequence[tuple[float, float]]) -> float:
    """The logarithm of what the bettors have, who doubt that a hit is at least as probable as said, after these rounds.

    They began with 1. It depends on the counts alone, not on their order, and rises with `probability` (0 to 1, both
    excluded). Minus infinity where all are ruined.
    """
    logs = [
        math.log(share)
        + (hits * math.log(kept) if hits else 0.0)
        + misses * (math.log1p(-kept * probability) - math.log1p(-probability))
        for kept, share in bettors
        if kept > 0 or not hits
    ]
    largest = max(logs, default=-math.inf)
    return largest + math.log(math.fsum(math.exp(x - largest) for x in logs)) if logs else largest


def _highest(hits: int, misses: int, delta: float, bettors: Sequence[tuple[float, float]]) -> float:
    """The highest probability of a hit that is not ruled out."""
    if not misses:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        ruled_out = middle >= 1 or log_capital(hits, misses, middle, bettors) >= -math.log(delta)
        low, high = (low, middle) if ruled_out else (middle, high)
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The outcomes of the audits of one version of a rule, in their order, of all sweeps: True is a false prune."""

    version: str
    outcomes: tuple[bool, ...] = ()

    def and_(self, *, learner: bool) -> Ledger:
        """With one more audit."""
        return replace(self, outcomes=(*self.outcomes, learner))

    @property
    def audits(self) -> int:
        """Condemned trials whose end is known."""
        return len(self.outcomes)

    @property
    def false_prunes(self) -> int:
        """Those that became learners."""
        return sum(self.outcomes)

    def bound(self, delta: float = DELTA) -> float:
        """The false-prune rate is at most this, 0 to 1; 1 where nothing is known.

        Over all times that it is asked, it is wrong with a probability of at most `delta`.
        """
        return _highest(self.false_prunes, self.audits - self.false_prunes, delta, DOUBTS_MANY)

    def lower_bound(self, delta: float = DELTA) -> float:
        """The false-prune rate is at least this, 0 to 1; wrong, over all times, at most as often as `delta` says."""
        return 1 - _highest(self.audits - self.false_prunes, self.false_prunes, delta, DOUBTS_FEW)

    def all_clear(self, limit: float, delta: float = DELTA) -> bool:
        """Whether the rate is known to be at most `limit` (0 to 1, both excluded), by all that is known now.

        An all-clear is not for ever: false prunes after it take it back.
        """
        capital = log_capital(self.false_prunes, self.audits - self.false_prunes, limit, DOUBTS_MANY)
        return capital >= -math.log(delta)

    def broken(self, limit: float, delta: float = DELTA) -> bool:
        """Whether the rate was ever known to be above `limit` (0 to 1, both excluded): then the rule must not act.

        Once broken, broken: of a rule whose rate is `limit`, this becomes true with a probability of at most `delta`.
        """
        false_prunes = 0
        for audits, outcome in enumerate(self.outcomes, 1):
            false_prunes += outcome
            capital = log_capital(audits - false_prunes, false_prunes, 1 - limit, DOUBTS_FEW)
            if capital >= -math.log(delta):
                return True
        return False

    def audits_needed(self, limit: float, delta: float = DELTA) -> int:
        """How many more audits, none of them a false prune, an all-clear takes; 0 where it is all clear."""
        stalls, enough = self.audits - self.false_prunes, -math.log(delta)
        counts = itertools.count()
        return next(n for n in counts if log_capital(self.false_prunes, stalls + n, limit, DOUBTS_MANY) >= enough)

    def text(self, delta: float = DELTA) -> str:
        """What is known, for people."""
        if not self.outcomes:
            return (
                "false-prune rate unmeasured: no audit has ended (early_stop.audit lets some of the condemned run on)"
            )
        were = "was a learner" if self.false_prunes == 1 else "were learners"
        return (
            f"{self.false_prunes} of {self.audits} audited {were}: "
            f"false-prune rate at most {_percent(self.bound(delta))} ({100 * (1 - delta):.4g}%, anytime)"
        )


def pooled(outcomes: Iterable[tuple[str, bool]]) -> Mapping[str, Ledger]:
    """The ledgers of all versions, of pairs of a version and the outcome of an audit, as they came, of all sweeps."""
    ledgers: dict[str, Ledger] = {}
    for version, learner in outcomes:
        ledgers[version] = ledgers.get(version, Ledger(version=version)).and_(learner=learner)
    return ledgers


def _percent(part: float) -> str:
    """Rounded up: a bound must not become tighter by being written."""
    percent = 100 * part
    return f"{math.ceil(percent * 10 - 1e-9) / 10:g}%" if percent < 10 else f"{math.ceil(percent - 1e-9)}%"  # noqa: PLR2004


# ---- what the rules did, in sum --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WinnersLost:
    """How many learners are expected among the pruned: the estimate, and between what numbers it may lie."""

    estimate: float
    low: float
    high: float


def winners_lost(audits: int, false_prunes: int, pruned: int, confidence: float = 0.95) -> WinnersLost | None:
    """The learners among trials that were pruned and not audited: their number, times the share among the audited.

    The interval is that of Clopper and Pearson, for a report at the end: it is exact where the number of audits did not
    depend on their outcomes.

    Args:
        audits: condemned trials that ran on to their end, of the same versions of the same rules.
        false_prunes: those of them that became learners.
        pruned: condemned trials that were stopped.
        confidence: of the interval, 0 to 1, both excluded.

    Returns:
        None where nothing was audited: then it is unmeasured.

    Raises:
        ValueError: the counts or the confidence are out of their ranges.
    """
    low, high = clopper_pearson(false_prunes, audits, confidence)
    if not audits:
        return None
    return WinnersLost(estimate=pruned * false_prunes / audits, low=pruned * low, high=pruned * high)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSteps:
    """Optimizer steps that the rules made needless, those of them that audits took all the same, and what is left."""

    condemned: int
    audits: int

    @property
    def net(self) -> int:
        """Steps that were in fact not taken."""
        return self.condemned - self.audits


def saved_steps(pruned: Iterable[int], audited: Iterable[int]) -> SavedSteps:
    """What early stopping saved.

    Args:
        pruned: of each trial that was stopped, the planned steps after its verdict.
        audited: of each trial that was condemned and ran on, the steps that it took after its verdict.
    """
    stopped, ran_on = sum(pruned), sum(audited)
    return SavedSteps(condemned=stopped + ran_on, audits=ran_on)
