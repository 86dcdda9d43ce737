"""The parallel coordinates of a sweep: a column for each parameter, and one for the metric; pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted_value
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


def parallel_of(trials: Sequence[TrialRecord], revision: int) -> Parallel:
    """Return the axes of these trials."""
    names = dict.fromkeys(name for trial in trials for name in trial.facts.shown)
    first = trials[0].facts if trials else None
    axes = [_axis(f"{PARAM}{name}", name, trials) for name in names]
    if first is not None and first.metric:
        axes.append(_axis(VALUE, first.metric, trials))
    return Parallel(
        revision=revision,
        maximize=first is not None and first.maximize,
        numbers=[trial.number for trial in trials],
        axes=axes,
    )


def _axis(key: str, name: str, trials: Sequence[TrialRecord]) -> Axis:
    values = [redacted_value(name, value_on(trial, key)) for trial in trials]
    if all(value is None or _is_number(value) for value in values):
        column = [None if value is None else finite(float(str(value))) for value in values]
        known = [value for value in column if value is not None]
        log = bool(known) and min(known) > 0 and max(known) / min(known) >= LOGARITHMIC
        return Axis(key=key, name=name, words=(), log=log, column=column)
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[word_of(value)] = counts.get(word_of(value), 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))
    words = sorted(words) if len(words) <= MOST_WORDS else [*sorted(words[: MOST_WORDS - 1]), OTHERS]
    places = {word: place for place, word in enumerate(words)}
    at = [None if value is None else places.get(word_of(value), len(words) - 1) for value in values]
    return Axis(key=key, name=name, words=words, log=False, column=at)


def finite(value: float) -> float | None:
    """Return a value with six digits, which is more than a screen shows; None for NaN and the infinities."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
