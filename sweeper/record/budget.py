"""What a sweep may use and what it has used: pure functions of its record."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sweeper.errors import RecordError
from sweeper.record.events import Event, SweepEnded, SweepStarted
from sweeper.record.finite import was_non_finite
from sweeper.record.trial import State, TrialRecord

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLimits:
    """The limits of a sweep; None is no limit.

    `trials` limits those of the search that were ever started; `hours` and `gpu_hours` limit all trials. `target` is
    the value of the metric that is good enough.
    """

    trials: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    target: float | None = None

    @classmethod
    def read(cls, spec: object) -> BudgetLimits:
        """Return the limits in a resolved sweep (`spec.json`): those of its budget, and the target of its metric.

        Raises:
            RecordError: a limit is not a number.
        """
        budget, metric = (spec.get(key) if isinstance(spec, Mapping) else None for key in ("budget", "metric"))
        limits = dict(budget) if isinstance(budget, Mapping) else {}
        limits["target"] = metric.get("target") if isinstance(metric, Mapping) else None
        for name in cls.__dataclass_fields__:
            limit = limits.get(name)
            if limit is not None and not (type(limit) in (int, float) and abs(limit) <= sys.float_info.max):
                key = "metric.target" if name == "target" else f"budget.{name}"
                raise RecordError(f"spec.json: spec.{key}: expected a number, got {limit!r}")
        return cls(**{name: limits[name] for name in cls.__dataclass_fields__ if name in limits})

    def is_reached_by(self, trial: TrialRecord) -> bool:
        """Return whether a trial within all constraints has reached the target at any evaluation.

        One that was stopped or failed has not, and a metric with bounds has to have a value.
        """
        if self.target is None or trial.series is None or trial.state in (State.PRUNED, State.FAIL):
            return False
        if was_non_finite(trial) or not trial.is_feasible:
            return False
        return trial.series.high >= self.target if trial.facts.maximize else trial.series.low <= self.target


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
        if now is not None and end == len(log):
            last = now
        else:
            until = log[end].time if end < len(log) else math.inf
            last = max((time for trial in trials for time in _times(trial) if time <= until), default=0.0)
        total += max(0.0, last - log[start].time)
    return total


def gpu_seconds(trials: Sequence[TrialRecord], now: float) -> float:
    """Return the seconds of all attempts, each times the number of its GPUs."""
    return sum(attempt.seconds(now) * attempt.gpus for trial in trials for attempt in trial.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a sweep has used: trials that were ever started, hours, and GPU hours; and whether its target is reached.

    Trials that a person or a repair derived from others use hours, but no trial: they take none from the search.
    """

    trials: int = 0
    hours: float = 0.0
    gpu_hours: float = 0.0
    reached: bool = False

    @classmethod
    def of(
        cls,
        trials: Sequence[TrialRecord],
        log: Sequence[Event],
        *,
        now: float,
        running: bool,
        limits: BudgetLimits | None = None,
    ) -> Usage:
        """Return the usage by the record.

        Args:
            trials: all trials of the sweep.
            log: the events of `log.jsonl`.
            now: seconds since the epoch.
            running: whether an orchestrator is running the sweep.
            limits: the limits, if they may have a target.
        """
        return cls(
            reached=limits is not None and any(map(limits.is_reached_by, trials)),
            trials=sum(bool(trial.attempts) and trial.facts.is_searched for trial in trials),
            hours=wall_seconds(log, trials, now if running else None) / HOUR_S,
            gpu_hours=gpu_seconds(trials, now) / HOUR_S,
        )


def exhausted(limits: BudgetLimits, usage: Usage) -> list[str]:
    """Return the limits that are reached, in words: ``the target of 0.9``, ``the budget of 2 hours``."""
    reached = [
        (limits.trials, usage.trials, "trial"),
        (limits.hours, usage.hours, "hour"),
        (limits.gpu_hours, usage.gpu_hours, "GPU hour"),
    ]
    target = [f"the target of {limits.target:g}"] if limits.target is not None and usage.reached else []
    return target + [
        f"the budget of {limit:g} {unit if limit == 1 else unit + 's'}"
        for limit, amount, unit in reached
        if limit is not None and amount >= limit
    ]


def over_budget(limits: BudgetLimits, usage: Usage, waiting: Iterable[TrialRecord]) -> AbstractSet[int]:
    """Return the numbers of the waiting trials that the budget does not allow to start.

    A trial that was started once counts no further trial, and one that was derived from another counts none. Once the
    hours are used up, or the target is reached, no trial may start.

    Args:
        limits: the budget.
        usage: what was used.
        waiting: the trials in the order in which they are to start.
    """
    if exhausted(replace(limits, trials=None), usage):
        return {trial.number for trial in waiting}
    if limits.trials is None:
        return frozenset()
    new = [trial.number for trial in waiting if not trial.attempts and trial.facts.is_searched]
    return set(new[max(0, limits.trials - usage.trials) :])


def _times(trial: TrialRecord) -> Iterator[float]:
    yield from (attempt.launch_time for attempt in trial.attempts)
    yield from (attempt.exit.time for attempt in trial.attempts if attempt.exit)
    if math.isfinite(trial.progress.latest):
        yield trial.progress.latest
