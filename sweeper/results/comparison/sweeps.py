"""Compare sweeps: what each found and saved, what differs, and whether one is better on shared trials; pure functions.

1. Configurations are paired by the parameters that at least one of two sweeps varies, and trials by seed. Different
   constants are differences between the sweeps, not between their configurations.
2. Trials that were derived from others are left out of the pairs: they began with what another trial had learned.
3. The sentence on which sweep is better uses only pairs of complete trials, because a trial that was stopped early has
   the value that it had then. It compares the mean over the shared configurations, paired by seed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.config import SweepSpec, changes_between
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.extremes import mean as average
from sweeper.record.values.params import spelled
from sweeper.record.values.redaction import redacted, redacted_values
from sweeper.results.columns import Column, fitted, lines_of, shorten
from sweeper.results.comparison.configurations import (
    ConfigurationResult,
    PairedComparison,
    configuration_name,
    configuration_results,
    interval_text,
    paired_comparison,
)
from sweeper.results.comparison.fronts import compared_fronts, front_members, goals_text
from sweeper.results.comparison.provenance import Origin, differences
from sweeper.results.front import front_text
from sweeper.results.snapshot import SweepView, savings_of
from sweeper.results.wording import counted, duration, number, plain

MOST_DIFFERENCES = 20
LONGEST_PARAMETERS = 60
FEWEST = 2
"""Seeds that a confidence interval needs."""
_ALWAYS_DIFFERENT = ("name", "description", "profile_description")
"""Keys in which any two sweeps differ."""

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the compared sweeps: its letter in the text (``A``, ``B``, ...), and the path of its run."""

    letter: str
    path: str
    sweep: SweepView
    spec: SweepSpec
    origin: Origin = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A configuration that both sweeps have.

    `complete` has, by seed, the second value minus the first, in units of the metric, for trials complete in both.
    """

    first: ConfigurationResult
    second: ConfigurationResult
    complete: Mapping[int, float]

    @property
    def comparison(self) -> PairedComparison:
        """Return the comparison of the second with the first; positive if the second is better."""
        return paired_comparison(self.second, self.first)


def comparison_text(sides: Sequence[Side], *, width: int = 1000) -> str:
    """Compare every sweep with the first; return plain text with tables of at most `width` cells if they fit."""
    lines = list(_heads(sides))
    for side in sides[1:]:
        lines += ["", *_two(sides[0], side, width)]
    return "\n".join(lines) + "\n"


def pairs_of(first: Side, second: Side) -> tuple[list[Pair], list[ConfigurationResult], list[ConfigurationResult]]:
    """Return the shared configurations, best of the first sweep first; those only in the first; only in the second."""
    names = list(dict.fromkeys(name for side in (first, second) for t in side.sweep.trials for name in t.facts.shown))
    here, there = _by_key(first, names), _by_key(second, names)
    both = [
        Pair(first=one, second=there[key], complete=_complete(one, there[key]))
        for key, one in here.items()
        if key in there
    ]
    return (
        both,
        [one for key, one in here.items() if key not in there],
        [one for key, one in there.items() if key not in here],
    )


def better_sweep_text(first: Side, second: Side, pairs: Sequence[Pair]) -> str:
    """Return one or two sentences on which sweep is better on shared configurations, and whether it is significant."""
    complete = [pair for pair in pairs if pair.complete]
    a, b = first.letter, second.letter
    if not complete:
        return f"{a} and {b} cannot be compared: no configuration and seed is complete in both."
    sign = _sign(complete[0])
    seeds = [seed for seed in complete[0].complete if all(seed in pair.complete for pair in complete)]
    every = [sign * gain for pair in complete for gain in pair.complete.values()]
    where = counted(len(complete), "shared configuration", "shared configurations")
    over = f"over {where}, paired over {counted(len(seeds), 'seed', 'seeds')}"
    if not any(every):
        return f"{a} and {b} have the same values to the last bit, {over}."
    if len(seeds) < FEWEST:
        missing = f"a confidence interval needs {FEWEST} seeds"
        return f"The significance of the difference is unknown {over}: {missing}. {_counted_pairs(b, every)}."
    gains = [sign * average(pair.complete[seed] for pair in complete) for seed in seeds]
    forth, back = PairedComparison(differences=gains), PairedComparison(differences=[-gain for gain in gains])
    for winner, loser, gain in ((b, a, forth), (a, b, back)):
        if gain.is_significant:
            return f"{winner} is better than {loser} by {number(gain.mean)} {interval_text(*gain.interval)}, {over}."
    difference = f"the gain of {b} is {number(forth.mean)} {interval_text(*forth.interval)}, {over}"
    return f"The difference between {a} and {b} is not significant at 95%: {difference}."


def _counted_pairs(letter: str, gains: Sequence[float]) -> str:
    mean = average(gains)
    better = f"{letter} is better in {sum(gain > 0 for gain in gains)} of {counted(len(gains), 'pair', 'pairs')}"
    return f"{better}, on average {number(abs(mean))} {'better' if mean > 0 else 'worse'}"


# ---- text -----------------------------------------------------------------------------------------------------------


def _heads(sides: Sequence[Side]) -> Iterator[str]:
    for side in sides:
        sweep = side.sweep
        words = Counter(trial.state.value.lower() for trial in sweep.trials)
        states = ", ".join(f"{count} {word}" for word, count in words.most_common())
        took = duration(sum(trial.seconds(sweep.now) for trial in sweep.trials))
        yield f"{side.letter}  {plain(side.path)}: {counted(len(sweep.trials), 'trial', 'trials')}"
        yield f"   {states or 'no trials'}; {took} of slot time"
        if derived := sum(trial.is_derived for trial in sweep.trials):
            were = counted(derived, "trial was", "trials were")
            yield f"   {were} derived from others; configurations are compared without them"
        if saved := savings_of(sweep).text():
            yield f"   {saved}"
        best = next((one for one in configuration_results(sweep.trials) if one.values), None)
        if side.spec.objectives and best is not None:
            members, of = front_members(sweep.trials)
            yield f"   {front_text(side.spec.goals, members, of=of)}"
        elif best is not None:
            mean = number(best.mean) + (f" {interval_text(*best.interval)}" if len(best.values) >= FEWEST else "")
            seeds = counted(len(best.values), "seed", "seeds")
            yield f"   best {plain(sweep.metric)} {mean}: {configuration_name(best)}, {seeds}"


def _two(first: Side, second: Side, width: int) -> Iterator[str]:
    a, b = first.letter, second.letter
    found = list(_different(first, second))
    yield f"Differences of {b} from {a}:" if found else f"{a} and {b} have the same sweep file and provenance."
    yield from (f"  {plain(redacted(line))}" for line in found[:MOST_DIFFERENCES])
    if len(found) > MOST_DIFFERENCES:
        yield f"  and {len(found) - MOST_DIFFERENCES} more"
    if first.spec.goals != second.spec.goals:
        yield ""
        goals = f"{a} has to {goals_text(first.spec.goals)}, {b} has to {goals_text(second.spec.goals)}"
        yield f"{a} and {b} cannot be compared: {goals}."
        return
    if first.spec.objectives:
        yield ""
        yield from compared_fronts((a, first.sweep.trials), (b, second.sweep.trials))
        return
    pairs, only_first, only_second = pairs_of(first, second)
    yield ""
    if pairs:
        yield from lines_of(fitted(_columns(first, second, pairs), width))
        yield from _notes(pairs)
    for side, only in ((first, only_first), (second, only_second)):
        if only:
            yield f"only in {side.letter}: {counted(len(only), 'configuration', 'configurations')}, {_best_of(only)}"
    yield ""
    yield (
        better_sweep_text(first, second, pairs)
        if pairs
        else f"{a} and {b} cannot be compared: they have no configuration in common."
    )


def _different(first: Side, second: Side) -> Iterator[str]:
    a, b = first.letter, second.letter
    changes = changes_between(first.spec, second.spec)
    for sentence in (*changes.conflicts, *changes.additions):
        if not sentence.startswith(tuple(f"{key}:" for key in _ALWAYS_DIFFERENT)):
            yield sentence
    for difference in differences(first.origin, second.origin):
        yield f"{difference.name}: {difference.there} in {a}, {difference.here} in {b}"


def _columns(first: Side, second: Side, pairs: Sequence[Pair]) -> list[Column]:
    a, b = first.letter, second.letter
    rows = [
        (
            shorten(_named(pair), LONGEST_PARAMETERS),
            number(pair.first.mean),
            number(pair.second.mean),
            number(_signed(pair)),
            interval_text(*_raw_interval(pair)),
            str(len(pair.comparison.differences)),
            _better(pair, a, b),
            _outcomes(pair, a, b),
        )
        for pair in pairs
    ]
    heads = ("parameters", f"{a} mean", f"{b} mean", f"{b} - {a}", "95% interval", "seeds", "better", "ended")
    gives = (0, 2, 2, 0, 0, 1, 0, 0)
    left = {"parameters", "better", "ended"}
    return [
        Column(
            head=head, cells=[row[i] for row in rows], give=gives[i], right=head not in left, firm=head != "parameters"
        )
        for i, head in enumerate(heads)
    ]


def _notes(pairs: Sequence[Pair]) -> Iterator[str]:
    significant = sum(_better(pair, "A", "B") in ("A", "B") for pair in pairs)
    if significant and len(pairs) > 1:
        yield f"one in twenty of these {len(pairs)} intervals is wrong by chance; the sentence below uses one interval"
    if any(trial.state is State.PRUNED for pair in pairs for trial in (*pair.first.trials, *pair.second.trials)):
        yield "the value of a pruned trial is the one that it had when it was stopped"


def _signed(pair: Pair) -> float | None:
    """Return the second mean minus the first, over the shared seeds; None without any."""
    gains = pair.comparison.differences
    return _sign(pair) * average(gains) if gains else None


def _raw_interval(pair: Pair) -> tuple[float, float]:
    low, high = pair.comparison.interval
    return (low, high) if _sign(pair) > 0 else (-high, -low)


def _better(pair: Pair, a: str, b: str) -> str:
    """Return the letter of the sweep that is significantly better, or why there is none."""
    if len(pair.comparison.differences) < FEWEST:
        return "one seed" if pair.comparison.differences else "no pair"
    if not any(pair.comparison.differences):
        return "equal"
    return (
        b
        if pair.comparison.is_significant
        else a
        if paired_comparison(pair.first, pair.second).is_significant
        else "not significant"
    )


def _outcomes(pair: Pair, a: str, b: str) -> str:
    return "; ".join(
        f"{letter} {one.outcome.lower()}"
        for letter, one in ((a, pair.first), (b, pair.second))
        if one.outcome != "COMPLETE"
    )


def _best_of(results: Sequence[ConfigurationResult]) -> str:
    best = next((one for one in results if one.values), None)
    return "none with a value" if best is None else f"the best {number(best.mean)}: {configuration_name(best)}"


def _named(pair: Pair) -> str:
    """Return the parameters that at least one of the two sweeps varies."""
    shown = dict.fromkeys([*pair.first.trials[0].facts.shown, *pair.second.trials[0].facts.shown])
    params = redacted_values(pair.first.trials[0].facts.params)
    return plain(", ".join(f"{name}={spelled(params.get(name))}" for name in shown)) or configuration_name(pair.first)


# ---- pairing --------------------------------------------------------------------------------------------------------


def _by_key(side: Side, names: Sequence[str]) -> dict[Key, ConfigurationResult]:
    found: dict[Key, ConfigurationResult] = {}
    for standing in configuration_results([trial for trial in side.sweep.trials if not trial.is_derived]):
        found.setdefault(_key(standing.trials[0], names), standing)
    return found


def _key(trial: TrialRecord, names: Sequence[str]) -> Key:
    """Return a key of the parameters that is equal for equal values, including 1 and 1.0."""
    params = trial.facts.params
    return tuple((name, json.dumps(_as_float(params[name]), sort_keys=True)) for name in names if name in params)


def _as_float(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value


def _complete(first: ConfigurationResult, second: ConfigurationResult) -> dict[int, float]:
    ended = [{t.facts.seed for t in one.trials if t.state is State.COMPLETE} for one in (first, second)]
    seeds = [s for s in first.values if s in second.values and s in ended[0] & ended[1]]
    return {seed: second.values[seed] - first.values[seed] for seed in seeds}


def _sign(pair: Pair) -> float:
    return 1.0 if pair.first.trials[0].facts.maximize else -1.0
