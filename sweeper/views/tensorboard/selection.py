"""Choose which trials of a large sweep TensorBoard shows; pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sweeper.record.trial import State, TrialRecord
from sweeper.results.front import trial_ranks

MOST_RUNS = 500


def hidden_trials(trials: Iterable[TrialRecord], most: int) -> set[int]:
    """Return the numbers of the started trials that are not among the `most` trials to show.

    Running trials are shown first, newest first. Half of the remaining places are for the best trials, the others for
    those that ended last. So a trial that was left out once stays left out, unless it is restarted.
    """
    started = [trial for trial in trials if trial.attempts]
    if len(started) <= most:
        return set()
    running = [trial.facts.number for trial in started if trial.state is State.RUNNING]
    shown = set(running[-most:])
    others = [trial for trial in started if trial.state is not State.RUNNING]
    room = most - len(shown)
    ranks = trial_ranks(others)
    best = sorted(others, key=lambda trial: (-ranks.get(trial.facts.number, len(others)), *_worth(trial)), reverse=True)
    shown |= {trial.facts.number for trial in best[: room // 2]}
    latest = (trial for trial in sorted(others, key=_end, reverse=True) if trial.facts.number not in shown)
    shown |= {trial.facts.number for trial, _ in zip(latest, range(most - len(shown)), strict=False)}
    return {trial.facts.number for trial in started} - shown


def _worth(trial: TrialRecord) -> tuple[float, int]:
    value = -math.inf if trial.value is None else trial.value if trial.facts.maximize else -trial.value
    return value, -trial.facts.number


def _end(trial: TrialRecord) -> tuple[float, int]:
    ended = trial.newest.end
    return -math.inf if ended is None or not math.isfinite(ended.time) else ended.time, trial.facts.number
