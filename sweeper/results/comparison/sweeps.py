"""Sweeps side by side: what each found and saved, what differs, and whether one is better where both were; pure.

1. Configurations are paired by the parameters that either of two sweeps varies, trials by seed. Constants that are not
   the same are a difference of the sweeps, not of their configurations.
2. The sentence on the whole rests on pairs of trials that are both complete, since the value of one that was pruned is
   what it had come to. It is of the mean over the configurations, which are the same ones, and over seeds.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.config import SweepSpec, compare
from sweeper.record.fold import State
from sweeper.record.trial import Trial, spelled
from sweeper.record.values.redaction import redacted
from sweeper.results.columns import Column, fitted, lines_of, shorten
from sweeper.results.comparison.configurations import Comparison, Standing, compared, interval_text, name_of, standings
from sweeper.results.comparison.provenance import Origin, differences
from sweeper.results.snapshot import SweepView, savings_of
from sweeper.results.wording import counted, duration, number, plain

MOST_DIFFERENCES = 20
LONGEST_PARAMETERS = 60
FEWEST = 2
"""Seeds for an interval."""
_UNTOLD = ("name", "description", "profile_description")
"""Keys of a sweep in which any two differ."""

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One sweep: `letter` is what it is called in the text, `path` where it is."""

    letter: str
    path: str
    sweep: SweepView
    spec: SweepSpec
    origin: Origin = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A configuration that two sweeps have; `complete` are the differences by seed of trials that are both complete.

    Differences are the second's value less the first's, in units of the metric.
    """

    first: Standing
    second: Standing
    complete: Mapping[int, float]

    @property
    def comparison(self) -> Comparison:
        """Of the second with the first: positive where the second is better."""
        return compared(self.second, self.first)


def comparison_text(sides: Sequence[Side], *, width: int = 1000) -> str:
    """All of it, plain text, in `width` cells where the tables can be; every sweep with the first."""
    lines = list(_heads(sides))
    for side in sides[1:]:
        lines += ["", *_two(sides[0], side, width)]
    return "\n".join(lines) + "\n"


def pairs_of(first: Side, second: Side) -> tuple[list[Pair], list[Standing], list[Standing]]:
    """The configurations that both have, the best of the first at the head; those of the first alone, of the second."""
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


def verdict_of(first: Side, second: Side, pairs: Sequence[Pair]) -> str:
    """One sentence or two on which of the two sweeps is better where both were, as far as that can be told."""
    complete = [pair for pair in pairs if pair.complete]
    a, b = first.letter, second.letter
    if not complete:
        return f"{a} and {b} cannot be told apart: they share no configuration and seed that is complete in both."
    sign = _sign(complete[0])
    seeds = [seed for seed in complete[0].complete if all(seed in pair.complete for pair in complete)]
    every = [sign * gain for pair in complete for gain in pair.complete.values()]
    where = counted(len(complete), "configuration that both have", "configurations that both have")
    over = f"over {where}, paired over {counted(len(seeds), 'seed', 'seeds')}"
    if not any(every):
        return f"{a} and {b} have the same values, to the last bit, {over}."
    if len(seeds) < FEWEST:
        return f"{a} and {b} cannot be told apart {over}: an interval takes {FEWEST}. {_counted_pairs(b, every)}."
    gains = [sign * statistics.fmean(pair.complete[seed] for pair in complete) for seed in seeds]
    forth, back = Comparison(differences=gains), Comparison(differences=[-gain for gain in gains])
    for winner, loser, told in ((b, a, forth), (a, b, back)):
        if told.tells:
            return f"{winner} is better than {loser} by {number(told.mean)} {interval_text(*told.interval)}, {over}."
    difference = f"the gain of {b} is {number(forth.mean)} {interval_text(*forth.interval)}"
    return f"{a} and {b} cannot be told apart: {difference}, {over}."


def _counted_pairs(letter: str, gains: Sequence[float]) -> str:
    mean = statistics.fmean(gains)
    better = f"{letter} is better in {sum(gain > 0 for gain in gains)} of {counted(len(gains), 'pair', 'pairs')}"
    return f"{better}, on average {number(abs(mean))} {'better' if mean > 0 else 'worse'}"


# ---- what is said -------------------------------------------------------------------------------------------------


def _heads(sides: Sequence[Side]) -> Iterator[str]:
    for side in sides:
        sweep = side.sweep
        words = Counter(trial.state.value.lower() for trial in sweep.trials)
        states = ", ".join(f"{count} {word}" for word, count in words.most_common())
        took = duration(sum(trial.seconds(sweep.now) for trial in sweep.trials))
        yield f"{side.letter}  {plain(side.path)}: {counted(len(sweep.trials), 'trial', 'trials')}"
        yield f"   {states or 'nothing has begun'}; {took} of slots"
        if saved := savings_of(sweep).text():
            yield f"   {saved}"
        best = next((one for one in standings(sweep.trials) if one.values), None)
        if best is not None:
            mean = number(best.mean) + (f" {interval_text(*best.interval)}" if len(best.values) >= FEWEST else "")
            yield f"   best {plain(sweep.metric)} {mean}: {name_of(best)}, {counted(len(best.values), 'seed', 'seeds')}"


def _two(first: Side, second: Side, width: int) -> Iterator[str]:
    a, b = first.letter, second.letter
    found = list(_different(first, second))
    yield f"What differs, {b} from {a}:" if found else f"{a} and {b}: neither sweep nor provenance differs"
    yield from (f"  {plain(redacted(line))}" for line in found[:MOST_DIFFERENCES])
    if len(found) > MOST_DIFFERENCES:
        yield f"  and {len(found) - MOST_DIFFERENCES} more"
    one, other = first.spec.metric, second.spec.metric
    if (one.name, one.goal) != (other.name, other.goal):
        yield ""
        goals = f"one is to {one.goal} {plain(one.name)}, the other to {other.goal} {plain(other.name)}"
        yield f"{a} and {b} cannot be compared: {goals}."
        return
    pairs, only_first, only_second = pairs_of(first, second)
    yield ""
    if pairs:
        yield from lines_of(fitted(_columns(first, second, pairs), width))
        yield from _notes(pairs)
    for side, alone in ((first, only_first), (second, only_second)):
        if alone:
            yield f"only in {side.letter}: {counted(len(alone), 'configuration', 'configurations')}, {_best_of(alone)}"
    yield ""
    yield (
        verdict_of(first, second, pairs)
        if pairs
        else f"{a} and {b} have no configuration in common: nothing can be paired."
    )


def _different(first: Side, second: Side) -> Iterator[str]:
    a, b = first.letter, second.letter
    changes = compare(first.spec, second.spec)
    for sentence in (*changes.conflicts, *changes.additions):
        if not sentence.startswith(tuple(f"{key}:" for key in _UNTOLD)):
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
            _told(pair, a, b),
            _fates(pair, a, b),
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
    told = sum(_told(pair, "A", "B") in ("A", "B") for pair in pairs)
    if told and len(pairs) > 1:
        yield f"of {len(pairs)} intervals at 95%, one in twenty misses by chance; the sentence below is a single one"
    if any(trial.state is State.PRUNED for pair in pairs for trial in (*pair.first.trials, *pair.second.trials)):
        yield "the value of a pruned trial is what it had come to when it was ended"


def _signed(pair: Pair) -> float | None:
    """The second's mean less the first's, over the seeds that both have."""
    gains = pair.comparison.differences
    return _sign(pair) * statistics.fmean(gains) if gains else None


def _raw_interval(pair: Pair) -> tuple[float, float]:
    low, high = pair.comparison.interval
    return (low, high) if _sign(pair) > 0 else (-high, -low)


def _told(pair: Pair, a: str, b: str) -> str:
    if len(pair.comparison.differences) < FEWEST:
        return "one seed" if pair.comparison.differences else "no pair"
    if not any(pair.comparison.differences):
        return "equal"
    return b if pair.comparison.tells else a if compared(pair.first, pair.second).tells else "cannot tell"


def _fates(pair: Pair, a: str, b: str) -> str:
    return "; ".join(
        f"{letter} {one.fate.lower()}" for letter, one in ((a, pair.first), (b, pair.second)) if one.fate != "COMPLETE"
    )


def _best_of(alone: Sequence[Standing]) -> str:
    best = next((one for one in alone if one.values), None)
    return "none with a value" if best is None else f"the best {number(best.mean)}: {name_of(best)}"


def _named(pair: Pair) -> str:
    """The parameters that either of the two varies."""
    shown = dict.fromkeys([*pair.first.trials[0].facts.shown, *pair.second.trials[0].facts.shown])
    params = pair.first.trials[0].facts.params
    return plain(", ".join(f"{name}={spelled(params.get(name))}" for name in shown)) or name_of(pair.first)


# ---- pairing ------------------------------------------------------------------------------------------------------


def _by_key(side: Side, names: Sequence[str]) -> dict[Key, Standing]:
    found: dict[Key, Standing] = {}
    for standing in standings(side.sweep.trials):
        found.setdefault(_key(standing.trials[0], names), standing)
    return found


def _key(trial: Trial, names: Sequence[str]) -> Key:
    """Equal for parameters that make equal trials: 1 and 1.0 do."""
    held = trial.facts.params
    return tuple((name, json.dumps(_even(held[name]), sort_keys=True)) for name in names if name in held)


def _even(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value


def _complete(first: Standing, second: Standing) -> dict[int, float]:
    ended = [{t.facts.seed for t in one.trials if t.state is State.COMPLETE} for one in (first, second)]
    seeds = [s for s in first.values if s in second.values and s in ended[0] & ended[1]]
    return {seed: second.values[seed] - first.values[seed] for seed in seeds}


def _sign(pair: Pair) -> float:
    return 1.0 if pair.first.trials[0].facts.maximize else -1.0
