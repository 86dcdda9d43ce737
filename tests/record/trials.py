"""Build trials from events, without files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sweeper.record.events import Event, Started
from sweeper.record.facts import Facts, RetryPolicy
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import HistoryEntry, TrialRecord


def facts_of(number: int = 0, *, retry: RetryPolicy | None = None) -> Facts:
    return Facts(
        number=number,
        configuration=0,
        seed=0,
        params={},
        shown={},
        command=[],
        metric="m",
        maximize=True,
        retry=retry or RetryPolicy(),
    )


def entries_of(history: Iterable[Event]) -> list[HistoryEntry]:
    """Give each event to the attempt of the `Started` before it, or to the first."""
    entries, attempt = [], 1
    for position, event in enumerate(history, start=1):
        attempt = (event.attempt or 1) if isinstance(event, Started) else attempt
        entries.append(HistoryEntry(attempt, position, event))
    return entries


def trial_of(
    control: Sequence[Event] = (),
    history: Iterable[Event] = (),
    exits: Iterable[Event] = (),
    *,
    number: int = 0,
    retry: RetryPolicy | None = None,
) -> TrialRecord:
    trial = TrialRecord(directory=TrialDir(Path(f"{number:04d}")), facts=facts_of(number, retry=retry))
    return trial.after([*control, *exits]).with_history(entries_of(history))
