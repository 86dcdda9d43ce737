"""Trials as answers: the row of a table, the status, and their parts; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.record.attempt import Attempt
from sweeper.record.decision import Decision
from sweeper.record.derivation import Derivation
from sweeper.record.events import StopRequested
from sweeper.record.finite import was_non_finite
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled
from sweeper.results.health.advice import was_flagged
from sweeper.results.health.trial_health import health_effect, health_text, is_healthy
from sweeper.results.receipt import cause_text, end_line, retry_text
from sweeper.results.snapshot import seconds_left, steps_per_second
from sweeper.results.status import derived_to_json, trial_to_json
from sweeper.results.wording import number, plain
from sweeper.service.answers.sweep import Best
from sweeper.service.answers.trial import (
    AttemptSummary,
    DerivedFrom,
    HealthChange,
    MetricSummary,
    Spared,
    SpikeFound,
    Spikes,
    TrialRow,
    TrialStatus,
    Verdict,
)


def row_of(trial: TrialRecord, now: float, place: int | None) -> TrialRow:
    """Return a trial as a row of a table.

    Args:
        trial: the trial.
        now: seconds since the epoch.
        place: its place in the ranking; None without a value.
    """
    effect, values = health_effect(trial), trial.values
    return TrialRow(
        number=trial.number,
        state=trial.state.value,
        params=trial.facts.shown,
        seed=trial.facts.seed,
        place=place,
        value=trial.value,
        values=None if values is None else dict(zip(_goals(trial), values, strict=True)),
        feasible=trial.is_feasible,
        step=trial.step if trial.step >= 0 else None,
        total_steps=trial.progress.total_steps,
        steps_per_second=finite(steps_per_second(trial)),
        seconds_left=finite(seconds_left(trial)),
        seconds=round(trial.seconds(now), 3),
        attempts=len(trial.attempts),
        slot=trial.newest.slot,
        health=health_text(trial),
        healthy=is_healthy(trial),
        effect=None if effect is None else effect.value,
        flagged=was_flagged(trial),
        exempt=trial.revived,
        reason=reason_of(trial),
        parent=None if trial.facts.derived is None else trial.facts.derived.parent,
    )


def reason_of(trial: TrialRecord) -> str:
    """Return how a trial ended or what it waits for, in one line; empty if it completed, runs, or never ran."""
    if trial.state in (State.PRUNED, State.FAIL):
        return end_line(trial)
    if trial.state is State.WAITING and trial.attempts and trial.newest.stop is None:
        return plain(f"{cause_text(trial.newest)}; {retry_text(trial)}")
    return ""


def status_of(trial: TrialRecord, now: float, rank: int | None) -> TrialStatus:
    """Return a trial as `sweeper status --json` prints it; `rank` is that of `results.front.trial_ranks`."""
    known: dict[str, Any] = trial_to_json(trial, now, rank)
    pruned, spared = known["pruned"], known["spared"]
    known["pruned"] = None if pruned is None else Verdict(**pruned)
    known["spared"] = None if spared is None else Spared(**{{"as": "as_"}.get(key, key): spared[key] for key in spared})
    known["derived"] = derived_of(trial.facts.derived)
    spikes = known["spikes"]
    known["spikes"] = Spikes(**{**spikes, "newest": [SpikeFound(**one) for one in spikes["newest"]]})
    known["health"] = [HealthChange(**change) for change in known["health"]]
    return TrialStatus(**known)


def derived_of(derived: Derivation | None) -> DerivedFrom | None:
    """Return how a trial was derived as an answer; None if it was not."""
    known: dict[str, Any] | None = derived_to_json(derived)
    return None if known is None else DerivedFrom(**known)


def best_of(trial: TrialRecord) -> Best | None:
    """Return the best trial as an answer; None if it has no value."""
    if trial.value is None:
        return None
    values = dict(zip(_goals(trial), trial.values or (), strict=False))
    return Best(number=trial.number, value=trial.value, values=values, params=trial.facts.shown)


def attempt_of(attempt: Attempt) -> AttemptSummary:
    """Return an attempt as an answer."""
    memory = attempt.exit.peak_memory_mb if attempt.exit else math.nan
    return AttemptSummary(
        number=attempt.number,
        slot=attempt.slot,
        gpus=attempt.gpus,
        begin=finite(attempt.launch_time),
        end=attempt.end.time if attempt.end else None,
        outcome=attempt.outcome,
        cause=attempt.cause,
        text=cause_text(attempt),
        code=attempt.exit.code if attempt.exit else None,
        signal=attempt.exit.signal if attempt.exit else None,
        peak_memory_mb=finite(memory),
        stop=stop_of(attempt.stop),
    )


def stop_of(stop: StopRequested | None) -> Verdict | None:
    """Return the decision of a stop; None if there is none."""
    return None if stop is None or stop.decision is None else verdict_of(stop.decision)


def verdict_of(decision: Decision) -> Verdict:
    """Return a decision as an answer."""
    return Verdict(
        rule=decision.rule,
        step=decision.step,
        reason=decision.reason,
        evidence=decision.evidence,
        version=decision.version,
    )


def metrics_of(trial: TrialRecord) -> list[MetricSummary]:
    """Return the metrics of a trial, in the order in which they were first reported."""
    return [
        MetricSummary(
            name=name,
            first=finite(one.first),
            last=finite(one.last),
            last_step=one.last_step,
            low=finite(one.low),
            low_step=one.low_step,
            high=finite(one.high),
            high_step=one.high_step,
        )
        for name, one in trial.progress.metrics.items()
    ]


NO_VALUE = 2
"""The first part of the key of a trial without a value."""


def merit_of(trial: TrialRecord) -> tuple[int, float, int]:
    """Return a key by which trials with one objective sort as in `results.ranking.ranked`: the best is the smallest."""
    value = trial.value
    if value is None:
        return NO_VALUE, 0.0, trial.number
    return int(was_non_finite(trial)), -value if trial.facts.maximize else value, trial.number


def finite(value: float | None) -> float | None:
    """Return a number; None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def shown_params(params: Mapping[str, object]) -> str:
    """Return parameters as text that a filter looks into: `lr=0.0001 lr=1e-4 depth=2`, in each way that is shown."""
    return " ".join(f"{name}={text}" for name, value in params.items() for text in _spellings(value)).lower()


def _spellings(value: object) -> Iterable[str]:
    """Return how a value reads in Python, in the tables of the terminal and on the page."""
    return dict.fromkeys([str(value), spelled(value), *([number(value)] if isinstance(value, float) else [])])


def _goals(trial: TrialRecord) -> list[str]:
    return [goal.name for goal in trial.facts.goals]
