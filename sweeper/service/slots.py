"""The attempts of a sweep over time, by slot; pure functions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from sweeper.errors import UsageError
from sweeper.record.attempt import Attempt
from sweeper.record.trial import TrialRecord
from sweeper.results.snapshot import SweepView
from sweeper.service.answers.series import SlotTimeline, Span

SPANS, MOST = 2000, 100_000
"""Attempts by default, and at most."""


def timeline_of(view: SweepView, revision: int, most: int) -> SlotTimeline:
    """Return the newest attempts of a sweep, at most so many, by their begin.

    Args:
        view: the sweep.
        revision: that of the run.
        most: maximum number of attempts.

    Raises:
        UsageError: `most` is out of its range.
    """
    if not 1 <= most <= MOST:
        raise UsageError(f"most: expected 1 to {MOST} attempts, got {most}")
    launched = [
        (attempt.launch_time, trial.number, attempt, trial)
        for trial in view.trials
        for attempt in trial.attempts
        if math.isfinite(attempt.launch_time)
    ]
    newest = heapq.nlargest(most, launched, key=lambda one: one[:2])
    spans = [_span(attempt, trial) for _, _, attempt, trial in reversed(newest)]
    names = dict.fromkeys([*view.slots, *sorted({span.slot for span in spans})])
    return SlotTimeline(
        slots=list(names), now=view.now, revision=revision, spans=spans, left_out=len(launched) - len(spans)
    )


def _span(attempt: Attempt, trial: TrialRecord) -> Span:
    return Span(
        number=trial.number,
        attempt=attempt.number,
        slot=attempt.slot,
        begin=attempt.launch_time,
        end=attempt.end.time if attempt.end else None,
        ended=next(_words(attempt)),
        state=trial.state.value,
    )


def _words(attempt: Attempt) -> Iterator[str]:
    """Yield how an attempt ended, the most important word first."""
    if attempt.end is None:
        yield "running"
    if attempt.stop is not None:
        yield "stopped"
    yield attempt.cause or "completed"
