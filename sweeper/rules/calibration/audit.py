"""The audit of a rule: random assignment of flagged trials, and anytime-valid bounds on the false-stop rate. Pure.

Some flagged trials, chosen at random, continue to their end. A flagged trial that turns out to be a learner is a *false
stop*. The share `p` of false stops among flagged trials is bounded after every outcome, and users act on the bound as
soon as it is low or high enough. A bound for a fixed number of audits does not allow that; one from an e-process does.

**The bound.** To reject `p >= p0`, bet against it: start with a capital of 1, and in each round bet that the audited
trial is no learner, at the odds that are fair if `p = p0`. A bettor that keeps the share `r` of its capital after a
learner has `(1 - r p0) / (1 - p0)` times as much after a stall. If `p >= p0`, neither a bettor nor a portfolio of
bettors that split the initial capital has a positive expected gain: the capital is a supermartingale, so the
probability that it ever reaches `1 / delta` is at most `delta` (Ville 1939, Étude critique de la notion de collectif).
So `p0` is rejected once the capital against it has reached `1 / delta`, at any time and for any stopping rule:
Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86. `p <= p0` is
rejected by the opposite bets.

**The choice of bettors.** A bettor with `r = 0` needs `log(1 / delta) / -log(1 - p0)` stalls in a row, as few as a
fixed sample: 59 for 5% at 95%. But it loses all its capital at the first false stop. `DOUBTS_MANY` gives it 95% of the
capital, and the rest to a bettor that keeps a fifth. At 5% and 95%, this needs the following number of audits:

    false stops                             0    1    2    3
    this portfolio                         59  186  226  266
    the capital split in half              65  133  169  205   (r = 0 and 0.25)
    only a bettor that keeps a quarter     78  115  151  188
    a fixed sample (Clopper and Pearson)   59   93  124  153   (bound not read before)

`DOUBTS_FEW`, which decides whether a rule is disabled, splits the capital evenly between three bettors that keep
different shares after a stall. They are good against rates of about two, four and eight times 5%: at 5%, one false stop
never disables a rule; 2 of 3 audits do, 3 of 8, and 4 of 15.

**Assumption.** Given the earlier outcomes, each audited trial is a learner with probability `p`. This holds because the
assignment is independent of the trials, and each audited trial is counted once, however it ended.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.rules.base import StopSettings

RULES_VERSION = 1
"""Increased if a rule decides differently with the same settings, so that earlier audit outcomes no longer count."""

DELTA = 0.05
"""The probability that a bound is ever wrong, over all times at which it is read."""

DOUBTS_MANY = ((0.0, 0.95), (0.2, 0.05))
DOUBTS_FEW = ((0.6, 1 / 3), (0.85, 1 / 3), (0.95, 1 / 3))
"""Bettors: the share of its capital that each keeps when it loses, and its share of the initial capital."""

BISECTIONS = 60


# ---- the random assignment -------------------------------------------------------------------------------------------


def rule_version(rule: StopSettings) -> str:
    """Return the rule's name and a hash of all its settings and of `RULES_VERSION`: ``stalled-af607b23``.

    Audit outcomes are pooled by this string, so the outcomes of one version say nothing about another version.
    """
    text = json.dumps([RULES_VERSION, rule.name, rule.model_dump(mode="json")], sort_keys=True)
    return f"{rule.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def seed_of(name: str) -> int:
    """Return the seed of the assignment of a sweep, which follows from its name; 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def is_audited(seed: int, number: int, rule: str, rate: float) -> bool:
    """Return whether a trial that the rule flags is audited, which means that it continues.

    The assignment is a hash, so every process computes the same at any time. It does not depend on the order in which
    trials are flagged, nor on the trial itself. A higher rate only adds audited trials.

    Args:
        seed: the seed of the sweep.
        number: the number of the trial.
        rule: the version of the rule.
        rate: the share of flagged trials that are audited, 0 to 1.

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
    """Return the logarithm of the capital of bettors against a hit probability of at least `probability`.

    The initial capital is 1. The result depends on the counts and not on their order, and rises with the probability.

    Args:
        hits: rounds in which the bettors lost.
        misses: rounds in which they won.
        probability: 0 to 1, both excluded.
        bettors: the share that each keeps when it loses, and its share of the initial capital.

    Returns:
        Minus infinity if no bettor has any capital left.
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
    """Return the highest probability of a hit that is not rejected."""
    if not misses:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        is_rejected = middle >= 1 or log_capital(hits, misses, middle, bettors) >= -math.log(delta)
        low, high = (low, middle) if is_rejected else (middle, high)
    return high


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOutcomes:
    """The outcomes of the audits of one version of a rule in all sweeps, in their order: True is a false stop."""

    version: str
    outcomes: tuple[bool, ...] = ()

    def with_outcome(self, *, learner: bool) -> AuditOutcomes:
        """Return the outcomes with one more audit."""
        return replace(self, outcomes=(*self.outcomes, learner))

    @property
    def audits(self) -> int:
        """The number of audited trials that have ended."""
        return len(self.outcomes)

    @property
    def false_stops(self) -> int:
        """The number of audited trials that turned out to be learners."""
        return sum(self.outcomes)

    def bound(self, delta: float = DELTA) -> float:
        """Return an upper bound on the false-stop rate, 0 to 1; 1 without any audit.

        The probability that the bound is ever wrong, at any time at which it is read, is at most `delta`.
        """
        return _highest(self.false_stops, self.audits - self.false_stops, delta, DOUBTS_MANY)

    def lower_bound(self, delta: float = DELTA) -> float:
        """Return a lower bound on the false-stop rate, 0 to 1; the probability that it is ever wrong is `delta`."""
        return 1 - _highest(self.audits - self.false_stops, self.false_stops, delta, DOUBTS_FEW)

    def is_cleared(self, limit: float, delta: float = DELTA) -> bool:
        """Return whether the upper bound is now at most `limit` (0 to 1, both excluded); a false stop may revoke it."""
        capital = log_capital(self.false_stops, self.audits - self.false_stops, limit, DOUBTS_MANY)
        return capital >= -math.log(delta)

    def was_above(self, limit: float, delta: float = DELTA) -> bool:
        """Return whether the lower bound was ever above `limit` (0 to 1, both excluded), so that the rule is disabled.

        If the rate of the rule is `limit`, the probability that this ever becomes true is at most `delta`.
        """
        false_stops = 0
        for audits, outcome in enumerate(self.outcomes, 1):
            false_stops += outcome
            capital = log_capital(audits - false_stops, false_stops, 1 - limit, DOUBTS_FEW)
            if capital >= -math.log(delta):
                return True
        return False

    def audits_needed(self, limit: float, delta: float = DELTA) -> int:
        """Return the number of further audits without a false stop until `is_cleared`; 0 if it is cleared now."""
        stalls, enough = self.audits - self.false_stops, -math.log(delta)
        counts = itertools.count()
        return next(n for n in counts if log_capital(self.false_stops, stalls + n, limit, DOUBTS_MANY) >= enough)

    def text(self, delta: float = DELTA) -> str:
        """Return the counts and the upper bound as text for users."""
        if not self.outcomes:
            return "false-stop rate unmeasured: no audit has ended (early_stop.audit lets some flagged trials continue)"
        were = "was a learner" if self.false_stops == 1 else "were learners"
        return (
            f"{self.false_stops} of {self.audits} audited trials {were}: "
            f"false-stop rate at most {_percent(self.bound(delta))} ({100 * (1 - delta):.4g}%, anytime)"
        )


def pooled(outcomes: Iterable[tuple[str, bool]]) -> Mapping[str, AuditOutcomes]:
    """Return the outcomes of each version from pairs of a version and an outcome, in the order of the audits."""
    found: dict[str, AuditOutcomes] = {}
    for version, learner in outcomes:
        found[version] = found.get(version, AuditOutcomes(version=version)).with_outcome(learner=learner)
    return found


def _percent(share: float) -> str:
    """Return a share as a percentage, rounded up so that the bound stays valid."""
    percent = 100 * share
    return f"{math.ceil(percent * 10 - 1e-9) / 10:g}%" if percent < 10 else f"{math.ceil(percent - 1e-9)}%"  # noqa: PLR2004
