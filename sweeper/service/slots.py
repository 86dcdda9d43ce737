"""The attempts of a sweep over time, by slot; pure functions."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from sweeper.errors import UsageError
from sweeper.record.attempt import Attempt
from sweeper.record.trial import TrialRecord
from sweeper.results.per_trial import Columns
from sweeper.results.snapshot import SweepView
from sweeper.service.answers.series import SlotTimeline, Span

SPANS, MOST = 2000, 100_000
"""Attempts by default, and at most."""


def timeline_of(view: SweepView, columns: Columns, revision: int, most: int) -> SlotTimeline:
    """Return the newest attempts of a sweep, at most so many, by their begin.

    Args:
        view: the sweep.
        columns: the columns of its trials.
        revision: that of the run.
        most: maximum number of attempts.

    Raises:
        UsageError: `most` is out of its range.
    """
    if not 1 <= most <= MOST:
        raise UsageError(f"most: expected 1 to {MOST} attempts, got {most}")
    launched = list(chain.from_iterable(columns.of(_launched).values()))
    newest = heapq.nlargest(most, launched, key=itemgetter(0, 1))
    spans = [_span(attempt, trial) for _, _, attempt, trial in reversed(newest)]
    names = dict.fromkeys([*view.slots, *sorted({span.slot for span in spans})])
    return SlotTimeline(
        slots=list(names), now=view.now, revision=revision, spans=spans, left_out=len(launched) - len(spans)
    )


def _launched(trial: TrialRecord) -> list[tuple[float, int, Attempt, TrialRecord]]:
    attempts = (attempt for attempt in trial.attempts if math.isfinite(attempt.launch_time))
    return [(attempt.launch_time, trial.number, attempt, trial) for attempt in attempts]


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
