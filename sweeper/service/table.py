"""A table of trials: sorted, filtered and in pages, at a cost that allows ten thousand of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import UsageError
from sweeper.record.trial import State, TrialRecord
from sweeper.results.front import has_ranks
from sweeper.results.health.advice import was_flagged
from sweeper.results.health.trial_health import health_text
from sweeper.results.ranking import ranked
from sweeper.results.snapshot import steps_per_second
from sweeper.service.trials import merit_of, shown_params

PARAM, METRIC = "param:", "metric:"
"""The beginnings of the names of columns that a sweep has of its own."""
MOST_ROWS = 1000
"""Maximum number of rows of a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialQuery:
    """Which trials a page shows.

    Attributes:
        sort: `place` (the ranking), `number`, `state`, `value`, `step`, `seconds`, `speed`, `health`, `begin`,
            `param:NAME` or `metric:NAME` (its last value).
        descending: whether the order is reversed; trials without a value stay last.
        states: the states that are shown; empty for all.
        flagged: whether only trials that a rule flagged are shown, or only others; None for both.
        health: only trials of which the cell `health` begins so; empty for all.
        text: only trials of which the number or a parameter has this in it, as in `lr=0.1`; empty for all.
        numbers: only these trials; empty for all.
        offset: how many trials are left out before the page.
        limit: maximum number of rows.
    """

    sort: str = "place"
    descending: bool = False
    states: Sequence[str] = ()
    flagged: bool | None = None
    health: str = ""
    text: str = ""
    numbers: Sequence[int] = ()
    offset: int = 0
    limit: int = 100

    def __post_init__(self) -> None:
        wrong = [state for state in self.states if state not in State.__members__]
        if wrong:
            raise UsageError(f"states: expected some of {', '.join(State.__members__)}, got {wrong[0]}")
        if self.sort not in COLUMNS and not self.sort.startswith((PARAM, METRIC)):
            known = ", ".join([*COLUMNS, f"{PARAM}NAME", f"{METRIC}NAME"])
            raise UsageError(f"sort: expected one of {known}, got {self.sort!r}")
        if self.offset < 0 or not 0 < self.limit <= MOST_ROWS:
            raise UsageError(f"expected offset >= 0 and 1 <= limit <= {MOST_ROWS}, got {self.offset} and {self.limit}")


@dataclass(slots=True)
class Table:
    """The order of the trials of a sweep; keys are computed anew only for trials that have changed."""

    _keys: dict[str, dict[int, tuple[TrialRecord, Any]]] = field(default_factory=dict)
    _texts: dict[int, str] = field(default_factory=dict)
    _places: dict[int, int] = field(default_factory=dict)
    _order: list[TrialRecord] = field(default_factory=list)
    _seen: int = -1

    def ranking(self, trials: Sequence[TrialRecord], revision: int) -> tuple[list[TrialRecord], Mapping[int, int]]:
        """Return the trials, the best first, and the place of each that has a value, from 1.

        Args:
            trials: the trials.
            revision: a number that differs if they do.
        """
        if revision != self._seen:
            if has_ranks(trials):
                self._order = ranked(trials)
            else:
                keys = self._keys_of("place", merit_of, trials)
                self._order = [trial for _, trial in sorted(zip(keys, trials, strict=True), key=_first)]
            valued = (trial for trial in self._order if trial.value is not None)
            self._places = {trial.number: place for place, trial in enumerate(valued, 1)}
            self._seen = revision
        return self._order, self._places

    def matching(self, trials: Sequence[TrialRecord], query: TrialQuery, revision: int) -> list[TrialRecord]:
        """Return all trials that a query keeps, in its order."""
        order = self._sorted(trials, query, revision)
        for keeps in self._filters(query):
            order = [trial for trial in order if keeps(trial)]
        return order

    def _sorted(self, trials: Sequence[TrialRecord], query: TrialQuery, revision: int) -> list[TrialRecord]:
        if query.sort == "place":
            order, places = self.ranking(trials, revision)
            count = len(places)
            valued, others = order[:count], order[count:]
            return [*reversed(valued), *others] if query.descending else order
        keys = self._keys_of(query.sort, _key_of(query.sort), trials)
        known = [(key, trial) for key, trial in zip(keys, trials, strict=True) if key is not None]
        known.sort(key=_first, reverse=query.descending)
        missing = [trial for key, trial in zip(keys, trials, strict=True) if key is None]
        return [*(trial for _, trial in known), *missing]

    def _keys_of(self, column: str, key: Callable[[TrialRecord], Any], trials: Sequence[TrialRecord]) -> list[Any]:
        cache = self._keys.setdefault(column, {})
        found = []
        for trial in trials:
            known = cache.get(trial.number)
            if known is None or known[0] is not trial:
                known = cache[trial.number] = (trial, key(trial))
            found.append(known[1])
        return found

    def _filters(self, query: TrialQuery) -> list[Callable[[TrialRecord], bool]]:
        filters: list[Callable[[TrialRecord], bool]] = []
        if query.numbers:
            filters.append(lambda trial, wanted=frozenset(query.numbers): trial.number in wanted)  # type: ignore[misc]
        if query.states:
            filters.append(lambda trial: trial.state.value in query.states)
        if query.flagged is not None:
            filters.append(lambda trial: was_flagged(trial) is query.flagged)
        if query.health:
            filters.append(lambda trial: health_text(trial).startswith(query.health))
        filters += [self._has(word) for word in query.text.lower().split()]
        return filters

    def _has(self, word: str) -> Callable[[TrialRecord], bool]:
        return lambda trial: word in self._text_of(trial)

    def _text_of(self, trial: TrialRecord) -> str:
        number = trial.number
        if number not in self._texts:
            self._texts[number] = f"{number:04d} {shown_params(trial.facts.shown)} seed={trial.facts.seed}"
        return self._texts[number]


def _first(pair: tuple[Any, TrialRecord]) -> Any:  # noqa: ANN401 - any key
    return pair[0]


def _key_of(column: str) -> Callable[[TrialRecord], Any]:
    """Return the key of a column; None is the key of trials that come last."""
    if column.startswith(PARAM):
        name = column.removeprefix(PARAM)
        return lambda trial: _comparable(trial.facts.params.get(name))
    if column.startswith(METRIC):
        name = column.removeprefix(METRIC)
        return lambda trial: _comparable(one.last if (one := trial.progress.metrics.get(name)) else None)
    key = COLUMNS[column]
    return lambda trial: _comparable(key(trial))


def _comparable(value: object) -> tuple[int, Any] | None:
    """Return a value so that numbers come before texts; None if there is none, and for NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return (0, value) if isinstance(value, int | float) else (1, str(value))


COLUMNS: Mapping[str, Callable[[TrialRecord], object]] = {
    "place": merit_of,
    "number": lambda trial: trial.number,
    "state": lambda trial: trial.state.value,
    "value": lambda trial: trial.value,
    "step": lambda trial: trial.step,
    "seconds": lambda trial: trial.seconds(trial.latest),
    "speed": steps_per_second,
    "health": health_text,
    "begin": lambda trial: min((attempt.launch_time for attempt in trial.attempts), default=None),
}
"""The columns that every sweep has."""
