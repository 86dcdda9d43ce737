"""The parallel coordinates of a sweep: a column for each parameter, and one for the metric; pure functions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted_value
from sweeper.results.per_trial import Columns
from sweeper.service.answers import Answer
from sweeper.ui.questions import PARAM, VALUE, value_on, word_of

MOST_WORDS = 24
"""An axis of words has no more places than this; the rarer words share the last one."""
OTHERS = "others"
LOGARITHMIC = 50.0
"""From this ratio of the highest to the lowest value on, an axis of positive numbers is logarithmic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        key: its key in a brush: `value`, or `param:NAME`.
        name: its name.
        words: its places, if they are words; else empty.
        log: whether it is logarithmic.
        column: the value of each trial, or the place of its word; null without one.
    """

    key: str
    name: str
    words: Sequence[str]
    log: bool
    column: Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Answer):
    """The axes of a sweep.

    Attributes:
        revision: that of the run.
        maximize: whether a higher value is better.
        numbers: the numbers of the trials.
        axes: the parameters, and at last the metric.
    """

    revision: int
    maximize: bool
    numbers: Sequence[int]
    axes: Sequence[Axis]


def parallel_of(columns: Columns, revision: int) -> Parallel:
    """Return the axes of the trials that these columns are of."""
    names = dict.fromkeys(name for shown in dict.fromkeys(columns.of(_names).values()) for name in shown)
    first = next((trial.facts for trial in columns.trials.values()), None)
    axes = [_axis(f"{PARAM}{name}", name, columns) for name in names]
    if first is not None and first.metric:
        axes.append(_axis(VALUE, first.metric, columns))
    return Parallel(
        revision=revision, maximize=first is not None and first.maximize, numbers=list(columns.trials), axes=axes
    )


def _axis(key: str, name: str, columns: Columns) -> Axis:
    def value_of(trial: TrialRecord) -> object:
        return redacted_value(name, value_on(trial, key))

    def number_of(trial: TrialRecord) -> float | None:
        value = value_of(trial)
        return finite(float(str(value))) if _is_number(value) else None

    def has_word(trial: TrialRecord) -> bool | None:
        value = value_of(trial)
        return None if value is None or _is_number(value) else True

    def word(trial: TrialRecord) -> str | None:
        value = value_of(trial)
        return None if value is None else word_of(value)

    if not columns.of(has_word, f"has word {key}"):
        column = columns.of(number_of, f"number {key}")
        low, high = min(column.values(), default=0.0), max(column.values(), default=0.0)
        log = low > 0 and high / low >= LOGARITHMIC
        return Axis(key=key, name=name, words=(), log=log, column=[column.get(number) for number in columns.trials])
    found = columns.of(word, f"word {key}")
    counts = Counter(found[number] for number in columns.trials if number in found)
    words = sorted(counts, key=lambda one: (-counts[one], one))
    words = sorted(words) if len(words) <= MOST_WORDS else [*sorted(words[: MOST_WORDS - 1]), OTHERS]
    places = {one: place for place, one in enumerate(words)}
    at = [places.get(found[number], len(words) - 1) if number in found else None for number in columns.trials]
    return Axis(key=key, name=name, words=words, log=False, column=at)


def _names(trial: TrialRecord) -> tuple[str, ...]:
    return tuple(trial.facts.shown)


def finite(value: float) -> float | None:
    """Return a value with six digits, which is more than a screen shows; None for NaN and the infinities."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
