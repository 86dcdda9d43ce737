"""What the address of a page asks for: which trials a table shows, and the ranges that were brushed; pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import UsageError
from sweeper.record.trial import TrialRecord
from sweeper.service.table import TrialQuery

ROWS = 50
"""Rows of a page of the table."""
MOST_CURVES = 20
"""Trials with curves that are drawn at once."""
VALUE, PARAM = "value", "param:"
"""The axes of the parallel coordinates: the sweep's metric, and each parameter."""
FLAGGED: Mapping[str, bool | None] = {"": None, "yes": True, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What is brushed on one axis: numbers from `low` to `high`, or any of `values`."""

    low: float = -math.inf
    high: float = math.inf
    values: frozenset[str] | None = None

    def has(self, value: object) -> bool:
        """Return whether a value lies within."""
        if self.values is not None:
            return word_of(value) in self.values
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and self.low <= float(str(value)) <= self.high


Brush = Mapping[str, Range]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which trials a table shows: a query of the service, and a brush.

    Attributes:
        query: the query, without the numbers that a brush leaves.
        brush: the ranges, by axis; empty for no brush.
    """

    query: TrialQuery
    brush: Brush = field(default_factory=dict)


def question_of(query: Mapping[str, str]) -> Question:
    """Return what the query of an address asks for.

    Raises:
        UsageError: a part of it has no meaning.
    """
    flagged = query.get("flagged", "")
    if flagged not in FLAGGED:
        raise UsageError(f"flagged: expected yes, no or nothing, got {flagged!r}")
    return Question(
        query=TrialQuery(
            sort=query.get("sort") or "place",
            descending=query.get("descending", "") == "yes",
            states=tuple(filter(None, query.get("states", "").split(","))),
            flagged=FLAGGED[flagged],
            health=query.get("health", ""),
            text=query.get("text", ""),
            numbers=numbers_of(query.get("numbers", "")),
            offset=whole(query.get("offset") or "0", "offset"),
            limit=whole(query.get("limit") or str(ROWS), "limit"),
        ),
        brush=brush_of(query.get("brush", "")),
    )


def numbers_of(text: str) -> tuple[int, ...]:
    """Return the numbers in `3,5,8`.

    Raises:
        UsageError: one is none.
    """
    return tuple(whole(word, "numbers") for word in text.split(",") if word)


def whole(text: str, name: str) -> int:
    """Return a whole number of at least 0.

    Raises:
        UsageError: it is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) < len(str(1 << 63))):
        raise UsageError(f"{name}: expected a whole number, got {text[:40]!r}")
    return int(text)


def brush_of(text: str) -> Brush:
    """Return the ranges in `{"param:lr": {"low": 1e-4, "high": 1e-3}, "param:name": {"values": ["a", "b"]}}`.

    Raises:
        UsageError: it is no such JSON.
    """
    if not text:
        return {}
    try:
        found = json.loads(text)
        return {str(axis): _range(part) for axis, part in found.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"brush: expected ranges by axis as JSON, got {text[:80]!r}") from error


def _range(part: Mapping[str, Any]) -> Range:
    values = part.get("values")
    return Range(
        low=float(part.get("low", -math.inf)),
        high=float(part.get("high", math.inf)),
        values=None if values is None else frozenset(map(str, values)),
    )


def brushed(trials: Iterable[TrialRecord], brush: Brush) -> Sequence[int]:
    """Return the numbers of the trials that lie within all ranges."""
    return [trial.number for trial in trials if all(part.has(value_on(trial, axis)) for axis, part in brush.items())]


def value_on(trial: TrialRecord, axis: str) -> object:
    """Return the value of a trial on an axis; None if it has none there."""
    return trial.value if axis == VALUE else trial.facts.shown.get(axis.removeprefix(PARAM))


def word_of(value: object) -> str:
    """Return a value that is no number as one word of an axis."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
