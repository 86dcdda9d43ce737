"""Compare configurations over seeds: means, confidence intervals, and differences paired by seed; pure functions.

A configuration is called the best only if it is significantly better than each rival at 95%. No correction for the
number of rivals is needed: among equal configurations, one would have to win all its comparisons by chance, which is
less likely the more rivals there are (an intersection-union test: Berger 1982, "Multiparameter hypothesis testing and
acceptance sampling", Technometrics 24; checked by simulation in `tests/results/comparison/test_configurations.py`).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.finite import was_non_finite
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.extremes import deviation, mean
from sweeper.results.comparison.t_interval import half_width, mean_interval
from sweeper.results.front import ranks_of
from sweeper.results.snapshot import params_of
from sweeper.results.wording import counted, number, plain

MOST_MORE = 1000
"""Largest number of additional seeds that an estimate names."""
FEWEST = 2
"""Seeds that two configurations must share for a confidence interval of their difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationResult:
    """The trials of a configuration in the order of their numbers, and their values by seed."""

    trials: Sequence[TrialRecord]
    values: Mapping[int, float]

    @property
    def mean(self) -> float | None:
        """Return the mean over seeds; None without a value."""
        return mean(self.values.values()) if self.values else None

    @property
    def is_feasible(self) -> bool:
        """Return whether all of its trials with a value keep to the constraints of the sweep."""
        return all(trial.is_feasible for trial in self.trials if trial.value is not None)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% confidence interval of the mean; NaN for fewer than two values."""
        return mean_interval(list(self.values.values()))

    @property
    def outcome(self) -> str:
        """Return how its trials ended: ``COMPLETE``, or ``2 of 3 seeds pruned``."""
        states = [trial.state for trial in self.trials]
        if len(set(states)) == 1 and states[0] not in _WORDS:
            return states[0].value
        parts = [f"{states.count(state)} {word}" for state, word in _WORDS.items() if state in states]
        first, *others = parts
        count, _, word = first.partition(" ")
        return ", ".join([f"{count} of {counted(len(states), 'seed', 'seeds')} {word}", *others])

    @property
    def state(self) -> State:
        """Return the most important state of its trials, failures first."""
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
class PairedComparison:
    """By how much one configuration is better than another, for each seed for which both have a value."""

    differences: Sequence[float]

    @property
    def mean(self) -> float:
        """Return the mean difference in units of the metric; positive if the first configuration is better."""
        return mean(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95% confidence interval of the mean difference; NaN for fewer than two seeds."""
        return mean_interval(self.differences)

    @property
    def is_significant(self) -> bool:
        """Return whether the first configuration is significantly better at 95%; false for fewer than two seeds."""
        return self.interval[0] > 0

    @property
    def more_seeds(self) -> int | None:
        """Estimate how many more seeds would make the difference significant if mean and deviation stay the same.

        None if no number would, or more than `MOST_MORE`.
        """
        done = len(self.differences)
        if done < FEWEST or self.mean <= 0:
            return None
        scatter = deviation(self.differences)
        counts = range(1, MOST_MORE + 1)
        # The half width falls with every seed, so bisection finds the first count that is sufficient.
        found = bisect.bisect_left(counts, x=True, key=lambda more: half_width(scatter, done + more) < self.mean)
        return counts[found] if found < len(counts) else None


def has_several_seeds(trials: Sequence[TrialRecord]) -> bool:
    """Return whether the sweep has more than one seed."""
    return len({trial.facts.seed for trial in trials}) > 1


def configuration_results(trials: Sequence[TrialRecord]) -> list[ConfigurationResult]:
    """Return the configurations, best mean first and those without a value last; equal means by number.

    With several objectives, the Pareto front is first, and with constraints, those that keep to them.
    """
    groups: dict[int, list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda trial: trial.facts.number):
        groups.setdefault(trial.facts.configuration, []).append(trial)
    found = [
        ConfigurationResult(trials=group, values={t.facts.seed: t.value for t in group if t.value is not None})
        for group in groups.values()
    ]

    ranks = ranks_of([result.trials for result in found])

    def key(pair: tuple[ConfigurationResult, int | None]) -> tuple[bool, bool, int, float]:
        result, rank = pair
        mean, trusted = result.mean, not any(map(was_non_finite, result.trials))
        place = len(found) if rank is None else rank
        return mean is None, not trusted, place, 0.0 if mean is None else -_sign(result) * mean

    return [result for result, _ in sorted(zip(found, ranks, strict=True), key=key)]


def paired_comparison(best: ConfigurationResult, rival: ConfigurationResult) -> PairedComparison:
    """Compare two configurations, paired by seed."""
    shared = [seed for seed in best.values if seed in rival.values]
    return PairedComparison(differences=[_sign(best) * (best.values[seed] - rival.values[seed]) for seed in shared])


def best_configuration_text(order: Sequence[ConfigurationResult]) -> str:
    """Say which configuration is best, or that the difference is not significant; empty for fewer than two with values.

    Args:
        order: the configurations, best first, as `configuration_results` returns them.
    """
    valued = [result for result in order if result.values]
    if len(valued) <= 1:
        return ""
    best, rivals = valued[0], valued[1:]
    open_rivals = [rival for rival in rivals if not paired_comparison(best, rival).is_significant]
    rival = open_rivals[0] if open_rivals else rivals[0]
    comparison = paired_comparison(best, rival)
    here, there = configuration_name(best), configuration_name(rival)
    seeds = counted(len(comparison.differences), "seed", "seeds")
    if not open_rivals:
        others = ", and better than every other configuration" if len(rivals) > 1 else ""
        return f"{here} is best: better than {there} by {_interval_text(comparison)}, paired over {seeds}{others}."
    also = counted(len(open_rivals) - 1, "other", "others")
    them = f"{here} and {there}" + (f" (and {also})" if len(open_rivals) > 1 else "")
    if len(comparison.differences) < FEWEST:
        return f"{them} cannot be compared: they share {seeds}, and a confidence interval needs {FEWEST}."
    difference = f"{_interval_text(comparison)}, paired over {seeds}"
    return f"The difference between {them} is not significant at 95%: {difference}. {_more(comparison)}."


def configuration_name(result: ConfigurationResult) -> str:
    """Return the varied parameters of a configuration; its number if nothing varies."""
    return params_of(result.trials[0]) or plain(f"configuration {result.trials[0].facts.configuration}")


def interval_text(low: float, high: float) -> str:
    """Return an interval as ``[0.79, 0.83]``; ``-`` if it is NaN."""
    return f"[{number(low)}, {number(high)}]" if math.isfinite(low) else "-"


def _more(comparison: PairedComparison) -> str:
    if comparison.mean <= 0:
        return "With this mean difference, no number of seeds would make it significant"
    more = comparison.more_seeds
    if more is None:
        return f"It would take more than {MOST_MORE} more seeds (estimate)"
    return f"It would take about {counted(more, 'more seed', 'more seeds')} (estimate)"


def _interval_text(comparison: PairedComparison) -> str:
    return f"{number(comparison.mean)} {interval_text(*comparison.interval)}"


def _sign(result: ConfigurationResult) -> float:
    """Return 1 if a higher metric is better, else -1."""
    return 1.0 if result.trials[0].facts.maximize else -1.0
