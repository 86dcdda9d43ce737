"""Which configuration is best, as far as repeats can tell: means over seeds, differences paired by seed; pure.

The best is named only where it is better than every single rival, each at 95%. That needs no correction for how many
rivals there are: among configurations that are equal, one would have to win all of its comparisons by chance, which is
rarer the more of them there are (an intersection-union test: Berger 1982, "Multiparameter hypothesis testing and
acceptance sampling", Technometrics 24; `tests/results/comparison/test_configurations.py` holds it by simulation).
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.comparison.t_interval import half_width, mean_interval
from sweeper.results.snapshot import params_of
from sweeper.results.wording import counted, number, plain

MOST_MORE = 1000
"""An estimate of more seeds than this is only said to be more."""
FEWEST = 2
"""Seeds that two configurations have to share for an interval of their difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A configuration and the trials of it, by number; `values` are those of its trials that have one, by seed."""

    trials: Sequence[Trial]
    values: Mapping[int, float]

    @property
    def mean(self) -> float | None:
        """Over seeds; None without a value."""
        return statistics.fmean(self.values.values()) if self.values else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, at 95%; NaN for fewer than two values."""
        return mean_interval(list(self.values.values()))

    @property
    def fate(self) -> str:
        """How its trials ended: ``COMPLETE``, or ``2 of 3 seeds pruned``."""
        states = [trial.state for trial in self.trials]
        if len(set(states)) == 1 and states[0] not in _WORDS:
            return states[0].value
        parts = [f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states]
        first, *others = parts
        count, _, word = first.partition(" ")
        return ", ".join([f"{count} of {counted(len(states), 'seed', 'seeds')} {word}", *others])

    @property
    def state(self) -> State:
        """The state that a reader should know of first."""
        states = {trial.state for trial in self.trials}
        return next(state for state in (State.FAIL, State.PRUNED, *_WORDS, State.COMPLETE) if state in states)


_WORDS = {
    State.PRUNED: "pruned",
    State.FAIL: "failed",
    State.RUNNING: "running",
    State.PAUSED: "paused",
    State.WAITING: "waiting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """By how much one configuration is better than another, of the seeds that both have a value for."""

    differences: Sequence[float]

    @property
    def mean(self) -> float:
        """Positive where the first is better; in units of the metric."""
        return statistics.fmean(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean difference, at 95%; NaN for fewer than two seeds."""
        return mean_interval(self.differences)

    @property
    def tells(self) -> bool:
        """Whether the first is better beyond what the seeds scatter; not where nothing is known."""
        return self.interval[0] > 0

    @property
    def more_seeds(self) -> int | None:
        """About how many more seeds would tell the two apart, were difference and scatter to stay as they are.

        None where no number would, or more than `MOST_MORE`.
        """
        done = len(self.differences)
        if done < FEWEST or self.mean <= 0:
            return None
        deviation = statistics.stdev(self.differences)
        counts = range(1, MOST_MORE + 1)
        # The half width falls with every seed, so that the first count that tells is found by bisection.
        found = bisect.bisect_left(counts, x=True, key=lambda more: half_width(deviation, done + more) < self.mean)
        return counts[found] if found < len(counts) else None


def repeated(trials: Sequence[Trial]) -> bool:
    """Whether the sweep has more than one seed."""
    return len({trial.facts.seed for trial in trials}) > 1


def standings(trials: Sequence[Trial]) -> list[Standing]:
    """The configurations, the best mean first, those without a value last; equals by number."""
    groups: dict[int, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.facts.number):
        groups.setdefault(trial.facts.configuration, []).append(trial)
    found = [
        Standing(trials=group, values={t.facts.seed: t.value for t in group if t.value is not None})
        for group in groups.values()
    ]

    def key(standing: Standing) -> tuple[bool, float]:
        mean = standing.mean
        return mean is None, 0.0 if mean is None else -_sign(standing) * mean

    return sorted(found, key=key)


def compared(best: Standing, rival: Standing) -> Comparison:
    """The two, paired by seed."""
    shared = [seed for seed in best.values if seed in rival.values]
    return Comparison(differences=[_sign(best) * (best.values[seed] - rival.values[seed]) for seed in shared])


def verdict(order: Sequence[Standing]) -> str:
    """One sentence on who is best, or who cannot be told apart; empty where there are not two with a value.

    Args:
        order: as `standings` gives it.
    """
    valued = [standing for standing in order if standing.values]
    if len(valued) <= 1:
        return ""
    best, rivals = valued[0], valued[1:]
    untold = [rival for rival in rivals if not compared(best, rival).tells]
    rival = untold[0] if untold else rivals[0]
    comparison = compared(best, rival)
    here, there = name_of(best), name_of(rival)
    seeds = counted(len(comparison.differences), "seed", "seeds")
    if not untold:
        others = " and than every other" if len(rivals) > 1 else ""
        return f"{here} is best: better than {there} by {_interval_text(comparison)}, paired over {seeds}{others}."
    also = counted(len(untold) - 1, "other", "others")
    them = f"{here} and {there}" + (f" (and {also})" if len(untold) > 1 else "")
    if len(comparison.differences) < FEWEST:
        return f"{them} cannot be told apart: they share {seeds}, and an interval takes {FEWEST}."
    difference = f"the difference is {_interval_text(comparison)} over {seeds}"
    return f"{them} cannot be told apart: {difference}; {_more(comparison)}."


def name_of(standing: Standing) -> str:
    """Its varied parameters; its number where nothing varies."""
    return params_of(standing.trials[0]) or plain(f"configuration {standing.trials[0].facts.configuration}")


def interval_text(low: float, high: float) -> str:
    """``[0.79, 0.83]``; ``-`` where it is not known."""
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) else "-"


def _more(comparison: Comparison) -> str:
    if comparison.mean <= 0:
        return "as they are, no number of seeds would"
    more = comparison.more_seeds
    if more is None:
        return f"more than {MOST_MORE} more seeds would (an estimate)"
    return f"about {more} more {'seed' if more == 1 else 'seeds'} would (an estimate)"


def _interval_text(comparison: Comparison) -> str:
    return f"{number(comparison.mean)} {interval_text(*comparison.interval)}"


def _sign(standing: Standing) -> float:
    """1 where more of the metric is better, else -1."""
    return 1.0 if standing.trials[0].facts.maximize else -1.0
