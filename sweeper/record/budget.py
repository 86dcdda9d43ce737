"""What a sweep may use and what it has used: pure functions of its record."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweeper.errors import RecordError
from sweeper.record.events import Event, SweepEnded, SweepStarted
from sweeper.record.trial import TrialRecord

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """The limits of a sweep's budget; None is no limit. `trials` limits those that were ever started."""

    trials: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None

    @classmethod
    def read(cls, spec: object) -> BudgetLimits:
        """Return the limits in a resolved sweep (`spec.json`); no limits where it has no budget.

        Raises:
            RecordError: a limit is not a number.
        """
        given = spec.get("budget") if isinstance(spec, Mapping) else None
        limits = given if isinstance(given, Mapping) else {}
        for name in cls.__dataclass_fields__:
            limit = limits.get(name)
            if limit is not None and not (type(limit) in (int, float) and abs(limit) <= sys.float_info.max):
                raise RecordError(f"spec.json: spec.budget.{name}: expected a number, got {limit!r}")
        return cls(**{name: limits[name] for name in cls.__dataclass_fields__ if name in limits})


def wall_seconds(log: Sequence[Event], trials: Sequence[TrialRecord], now: float | None) -> float:
    """Return how many seconds orchestrators have run the sweep, over all calls.

    A call that was killed counts until the last event that its trials wrote before the next call.

    Args:
        log: the events of `log.jsonl`.
        trials: all trials of the sweep.
        now: seconds since the epoch while the newest call is running; None where it has ended.
    """
    starts = [i for i, event in enumerate(log) if isinstance(event, SweepStarted)]
    total = 0.0
    for start, end in zip(starts, [*starts[1:], len(log)], strict=False):
        ended = next((event for event in log[start:end] if isinstance(event, SweepEnded)), None)
        if ended is not None:
            total += ended.seconds
            continue
        until = log[end].time if end < len(log) else math.inf
        seen = [time for trial in trials for time in _times(trial) if time <= until]
        last = now if now is not None and end == len(log) else max(seen, default=0.0)
        total += max(0.0, last - log[start].time)
    return total


def gpu_seconds(trials: Sequence[TrialRecord], now: float) -> float:
    """Return the seconds of all attempts, each times the number of its GPUs."""
    return sum(attempt.seconds(now) * attempt.gpus for trial in trials for attempt in trial.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a sweep has used: trials that were ever started, hours, and GPU hours."""

    trials: int = 0
    hours: float = 0.0
    gpu_hours: float = 0.0

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], log: Sequence[Event], *, now: float, running: bool) -> Usage:
        """Return the usage by the record.

        Args:
            trials: all trials of the sweep.
            log: the events of `log.jsonl`.
            now: seconds since the epoch.
            running: whether an orchestrator is running the sweep.
        """
        return cls(
            trials=sum(bool(trial.attempts) for trial in trials),
            hours=wall_seconds(log, trials, now if running else None) / HOUR_S,
            gpu_hours=gpu_seconds(trials, now) / HOUR_S,
        )


def exhausted(limits: BudgetLimits, usage: Usage) -> list[str]:
    """Return the limits that are reached, in words: ``the budget of 2 hours``."""
    reached = [
        (limits.trials, usage.trials, "trial"),
        (limits.hours, usage.hours, "hour"),
        (limits.gpu_hours, usage.gpu_hours, "GPU hour"),
    ]
    return [
        f"the budget of {limit:g} {unit if limit == 1 else unit + 's'}"
        for limit, amount, unit in reached
        if limit is not None and amount >= limit
    ]


def over_budget(limits: BudgetLimits, usage: Usage, waiting: Iterable[TrialRecord]) -> AbstractSet[int]:
    """Return the numbers of the waiting trials that the budget does not allow to start.

    A trial that was started once counts no further trial. Once the hours are used up, no trial may start.
    """
    if exhausted(BudgetLimits(hours=limits.hours, gpu_hours=limits.gpu_hours), usage):
        return {trial.number for trial in waiting}
    if limits.trials is None:
        return frozenset()
    new = sorted(trial.number for trial in waiting if not trial.attempts)
    return set(new[max(0, limits.trials - usage.trials) :])


def _times(trial: TrialRecord) -> Iterator[float]:
    yield from (attempt.launch_time for attempt in trial.attempts)
    yield from (attempt.exit.time for attempt in trial.attempts if attempt.exit)
    if math.isfinite(trial.progress.latest):
        yield trial.progress.latest
