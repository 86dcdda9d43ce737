"""A table of trials: sorted, filtered and in pages, at a cost that allows ten thousand of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import UsageError
from sweeper.mistakes import one_of
from sweeper.record.trial import State, TrialRecord
from sweeper.results.front import has_rank, has_ranks, trial_ranks
from sweeper.results.health.advice import was_flagged
from sweeper.results.health.trial_health import health_text
from sweeper.results.per_trial import Columns
from sweeper.results.ranking import ranked
from sweeper.results.rested import Rested
from sweeper.results.snapshot import steps_per_second
from sweeper.service.trials import NO_VALUE, merit_of, shown_params

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
    """The order of the trials of a sweep.

    Attributes:
        columns: the columns of its trials.
        rests: whether what depends on all trials may be a little older than they are, because the sweep runs.
    """

    columns: Columns
    rests: bool = False
    _places: dict[int, int] = field(default_factory=dict)
    _order: list[TrialRecord] = field(default_factory=list)
    _seen: int = -1
    _ranks: Rested[dict[int, int]] = field(default_factory=Rested)

    def ranking(self, revision: int) -> tuple[list[TrialRecord], Mapping[int, int]]:
        """Return the trials, the best first, and the place of each that has a value, from 1.

        Args:
            revision: a number that differs if the trials do.
        """
        if revision == self._seen:
            return self._order, self._places
        trials = self.columns.trials
        if self.has_ranks:
            self._order = ranked(list(trials.values()), self.ranks)
            valued = [trial.number for trial in self._order if trial.value is not None]
        else:
            keys = self.columns.of(merit_of)
            # The trials that have not changed are in order already, which makes the sort almost linear.
            known = [number for number in self._places if number in keys]
            numbers = [*known, *(keys.keys() - self._places.keys())]
            numbers.sort(key=keys.__getitem__)
            self._order = [trials[number] for number in numbers]
            valued = [number for number in numbers if keys[number][0] < NO_VALUE]
        self._places = {number: place for place, number in enumerate(valued, 1)}
        self._seen = revision
        return self._order, self._places

    @property
    def has_ranks(self) -> bool:
        """Whether the sweep ranks trials by more than the value of one metric."""
        return has_ranks(list(itertools.islice(self.columns.trials.values(), 1)))

    @property
    def is_due(self) -> bool:
        """Whether the ranks that were asked for last are older than the trials, and would be computed anew now."""
        return self._ranks.is_due

    @property
    def ranks(self) -> Mapping[int, int]:
        """The rank of each trial with values, where trials rank by more than one metric; else empty.

        They depend on all trials, so they may rest.
        """
        if not self.has_ranks:
            return {}
        values = self.columns.of(_ranked_by)
        trials = self.columns.trials.values()
        return self._ranks.of(dict(values), lambda: trial_ranks(list(trials)), rests=self.rests)

    def matching(self, query: TrialQuery, revision: int) -> list[TrialRecord]:
        """Return all trials that a query keeps, in its order."""
        order = self._sorted(query, revision)
        for keeps in self._filters(query):
            order = [trial for trial in order if keeps(trial)]
        return order

    def _sorted(self, query: TrialQuery, revision: int) -> list[TrialRecord]:
        if query.sort == "place":
            order, places = self.ranking(revision)
            count = len(places)
            valued, others = order[:count], order[count:]
            return [*reversed(valued), *others] if query.descending else order
        trials, keys = self.columns.trials, self.columns.of(_key_of(query.sort), f"sort {query.sort}")
        known = [(keys[number], trial) for number, trial in trials.items() if number in keys]
        if not known:
            _require_column(query.sort, trials.values())
        known.sort(key=_first, reverse=query.descending)
        missing = [trial for number, trial in trials.items() if number not in keys]
        return [*(trial for _, trial in known), *missing]

    def _filters(self, query: TrialQuery) -> list[Callable[[TrialRecord], bool]]:
        filters: list[Callable[[TrialRecord], bool]] = []
        if query.numbers:
            filters.append(lambda trial, wanted=frozenset(query.numbers): trial.number in wanted)  # type: ignore[misc]
        if query.states:
            filters.append(lambda trial: trial.state.value in query.states)
        if query.flagged is not None:
            flags = self.columns.of(was_flagged)
            filters.append(lambda trial: flags[trial.number] is query.flagged)
        if query.health:
            texts = self.columns.of(health_text)
            filters.append(lambda trial: texts[trial.number].startswith(query.health))
        words = query.text.lower().split()
        if words:
            shown = self.columns.of(_shown)
            filters.append(lambda trial: all(word in shown[trial.number] for word in words))
        return filters


def _shown(trial: TrialRecord) -> str:
    """Return the text that a filter looks into."""
    return f"{trial.number:04d} {shown_params(trial.facts.shown)} seed={trial.facts.seed}"


def _ranked_by(trial: TrialRecord) -> object:
    """Return what the rank of a trial depends on."""
    return (trial.values, trial.violations) if trial.values is not None and has_rank(trial) else None


def _require_column(column: str, trials: Iterable[TrialRecord]) -> None:
    """Refuse to sort by a parameter that no trial has, or a metric that none recorded, if trials have others.

    Raises:
        UsageError: the name is unknown.
    """
    for kind, names_of in ((PARAM, _param_names), (METRIC, _metric_names)):
        if column.startswith(kind):
            names = list(dict.fromkeys(name for trial in trials for name in names_of(trial)))
            name = column.removeprefix(kind)
            if names and name not in names:
                known = one_of(names, name, "see the table")
                raise UsageError(f"sort: expected {kind}NAME, where NAME is {known}, got {column!r}")


def _param_names(trial: TrialRecord) -> Iterable[str]:
    return trial.facts.params


def _metric_names(trial: TrialRecord) -> Iterable[str]:
    """Return what a trial recorded; and its objectives, once it has recorded anything."""
    recorded = trial.progress.metrics
    return (*recorded, *(goal.name for goal in trial.facts.goals)) if recorded else ()


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
