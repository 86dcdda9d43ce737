"""Sums over all trials of a sweep, from columns: only the trials that have changed are looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from sweeper.record.budget import HOUR_S, Usage, gpu_seconds, wall_seconds
from sweeper.record.trial import State, TrialRecord
from sweeper.results.health.trial_health import class_of, classes_text
from sweeper.results.per_trial import Columns
from sweeper.results.ranking import configuration_to_compare, one_seed_text
from sweeper.results.snapshot import SweepView, all_savings, own_savings, steps_done, time_left
from sweeper.results.status import state_word

ENDED = tuple(state.value for state in State if state.ended)


def counts(columns: Columns) -> Mapping[str, int]:
    """Return how many trials are in each state, without the states of none."""
    found = Counter(columns.of(state_word).values())
    return {state.value: found[state.value] for state in State if found[state.value]}


def health(columns: Columns) -> str:
    """Return how many trials have each diagnosis, as `counts_text` has it."""
    return classes_text(Counter(columns.of(class_of).values()))


def savings(columns: Columns) -> str:
    """Return what early stopping saved, in words."""
    return all_savings(columns.of(own_savings).values(), len(columns.trials)).text()


def seeds(columns: Columns) -> frozenset[int]:
    """Return the seeds of the trials."""
    return frozenset(columns.of(_seed).values())


def significance(columns: Columns) -> str:
    """Return the sentence on significance of a sweep with one objective and one seed."""
    return one_seed_text(columns.of(configuration_to_compare).values())


def usage(columns: Columns, view: SweepView, *, running: bool) -> Usage:
    """Return what the sweep has used, as `Usage.of` computes it."""
    limits = view.limits
    reached = columns.of(lambda trial: limits.is_reached_by(trial) or None, ("reached", limits.target))
    now = columns.of(_running).values()
    return Usage(
        trials=len(columns.of(_started)),
        hours=wall_seconds(view.log, view.trials, view.now if running else None) / HOUR_S,
        gpu_hours=(math.fsum(columns.of(_used).values()) + gpu_seconds(list(now), view.now)) / HOUR_S,
        reached=bool(reached),
    )


def seconds_left(columns: Columns, view: SweepView) -> float:
    """Estimate the seconds until the sweep ends, as `SweepView.seconds_left` does."""
    running, found = list(columns.of(_running).values()), counts(columns)
    others = len(running) + found.get(State.PAUSED.value, 0) + sum(found.get(state, 0) for state in ENDED)
    waiting = max(view.total or 0, len(view.trials)) - others
    return time_left(running, waiting, lambda: _expected_steps(columns), len(view.slots))


def _expected_steps(columns: Columns) -> float:
    known = columns.of(_steps_taken) or columns.of(_steps_planned)
    return sum(known.values()) / len(known) if known else math.nan


# ---- columns


def _seed(trial: TrialRecord) -> int:
    return trial.facts.seed


def _running(trial: TrialRecord) -> TrialRecord | None:
    return trial if trial.state is State.RUNNING else None


def _started(trial: TrialRecord) -> bool | None:
    return True if trial.attempts and trial.facts.is_searched else None


def _used(trial: TrialRecord) -> float | None:
    """Return the GPU seconds of a trial that does not run."""
    return None if trial.state is State.RUNNING or not trial.attempts else gpu_seconds([trial], 0.0)


def _steps_taken(trial: TrialRecord) -> int | None:
    return steps_done(trial) if trial.state.ended and trial.step >= 0 else None


def _steps_planned(trial: TrialRecord) -> int | None:
    return trial.progress.total_steps or None
