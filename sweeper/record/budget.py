"""What a sweep may spend, and what it has spent: pure functions of its record."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sweeper.errors import RecordError
from sweeper.record.events import Event, Launched, SweepEnded, SweepStarted
from sweeper.record.trial import Trial

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be spent; None sets no bound. `trials` counts those that were ever started."""

    trials: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None

    @classmethod
    def read(cls, spec: object) -> Budget:
        """The budget in a resolved sweep, as `spec.json` has it; without bounds where there is none.

        Raises:
            RecordError: a bound is no number.
        """
        given = spec.get("budget") if isinstance(spec, Mapping) else None
        bounds = given if isinstance(given, Mapping) else {}
        for name in cls.__dataclass_fields__:
            bound = bounds.get(name)
            if bound is not None and not (type(bound) in (int, float) and abs(bound) <= sys.float_info.max):
                raise RecordError(f"spec.json: spec.budget.{name}: expected a number, got {bound!r}")
        return cls(**{name: bounds[name] for name in cls.__dataclass_fields__ if name in bounds})


def wall_seconds(log: Sequence[Event], trials: Sequence[Trial], now: float | None) -> float:
    """How long the sweep was run, over all calls.

    A call that was killed counts until the last thing that its trials wrote before the next call.

    Args:
        log: the events of `log.jsonl`.
        now: seconds since the epoch, where the newest call goes on; None where it has ended.
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


def gpu_seconds(trials: Sequence[Trial], now: float) -> float:
    """The trials' seconds times the GPUs of the slots that they ran on."""
    return sum(
        trial.seconds_of(attempt, now) * _gpus(launched)
        for trial in trials
        for attempt, launched in trial.control.launched.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What was spent: trials that were ever started, and hours."""

    trials: int = 0
    hours: float = 0.0
    gpu_hours: float = 0.0

    @classmethod
    def of(cls, trials: Sequence[Trial], log: Sequence[Event], *, now: float, running: bool) -> Spending:
        """By the record.

        Args:
            log: the events of `log.jsonl`.
            now: seconds since the epoch.
            running: whether an orchestrator is at work.
        """
        return cls(
            trials=sum(bool(trial.control.launched) for trial in trials),
            hours=wall_seconds(log, trials, now if running else None) / HOUR_S,
            gpu_hours=gpu_seconds(trials, now) / HOUR_S,
        )


def spent(budget: Budget, spending: Spending) -> list[str]:
    """Which bounds are reached, each in words: ``the budget of 2 hours``."""
    reached = [
        (budget.trials, spending.trials, "trial"),
        (budget.hours, spending.hours, "hour"),
        (budget.gpu_hours, spending.gpu_hours, "GPU hour"),
    ]
    return [
        f"the budget of {bound:g} {unit if bound == 1 else unit + 's'}"
        for bound, amount, unit in reached
        if bound is not None and amount >= bound
    ]


def barred(budget: Budget, spending: Spending, waiting: Iterable[Trial]) -> AbstractSet[int]:
    """Those of the waiting trials that the budget does not allow to start, by number.

    Of trials, those that were started once are paid for; of time nothing is left for anybody once it is spent.
    """
    if spent(Budget(hours=budget.hours, gpu_hours=budget.gpu_hours), spending):
        return {trial.facts.number for trial in waiting}
    if budget.trials is None:
        return frozenset()
    new = sorted(trial.facts.number for trial in waiting if not trial.control.launched)
    return set(new[max(0, budget.trials - spending.trials) :])


def _gpus(launched: Launched) -> float:
    """How many GPUs an attempt has; in older records by the name of its slot: ``gpu 0+1``, ``cpu 3``."""
    if launched.gpus is not None:
        return launched.gpus
    return launched.slot.count("+") + 1 if launched.slot.startswith("gpu ") else 0


def _times(trial: Trial) -> Iterator[float]:
    yield from (launched.time for launched in trial.control.launched.values())
    yield from (ended.time for ended in trial.exits.values())
    if math.isfinite(trial.progress.latest):
        yield trial.progress.latest
