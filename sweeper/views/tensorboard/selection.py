"""Which trials of a large sweep TensorBoard shows: as many runs as a person can look at; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sweeper.record.fold import State
from sweeper.record.trial import Trial

MOST_RUNS = 500


def left_out(trials: Iterable[Trial], most: int) -> set[int]:
    """The numbers of those that were started and are not among the `most` that are shown.

    Shown are those that run, the newest first; in what is left of the room one half are the best, and the other those
    that ended last, whatever became of them. So who was left out once stays so, unless it runs again.
    """
    started = [trial for trial in trials if trial.control.launched]
    if len(started) <= most:
        return set()
    running = [trial.facts.number for trial in started if trial.state is State.RUNNING]
    shown = set(running[-most:])
    others = [trial for trial in started if trial.state is not State.RUNNING]
    room = most - len(shown)
    shown |= {trial.facts.number for trial in sorted(others, key=_worth, reverse=True)[: room // 2]}
    latest = (trial for trial in sorted(others, key=_end, reverse=True) if trial.facts.number not in shown)
    shown |= {trial.facts.number for trial, _ in zip(latest, range(most - len(shown)), strict=False)}
    return {trial.facts.number for trial in started} - shown


def _worth(trial: Trial) -> tuple[float, int]:
    value = -math.inf if trial.value is None else trial.value if trial.facts.maximize else -trial.value
    return value, -trial.facts.number


def _end(trial: Trial) -> tuple[float, int]:
    ended = trial.exits.get(trial.control.attempt) or trial.control.lost.get(trial.control.attempt)
    return -math.inf if ended is None or not math.isfinite(ended.time) else ended.time, trial.facts.number
