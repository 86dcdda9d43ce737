"""Which trials ended in earlier calls, so that a resumed sweep shows only what ends now."""

from __future__ import annotations

from collections.abc import Container, Iterable

from sweeper.record.events import Event, SweepEnded
from sweeper.record.trial import TrialRecord


def ended_earlier(trials: Iterable[TrialRecord], taken_in: Container[int], log: Iterable[Event]) -> frozenset[int]:
    """Return the numbers of the trials that an earlier orchestrator has seen end, and so has shown.

    An orchestrator that was killed did not see what ended after it: such a trial is not among them.

    Args:
        trials: the trials as this call found them.
        taken_in: the numbers of those that an earlier orchestrator appended to `ended.jsonl`.
        log: the events of `log.jsonl`. Before an orchestrator ends by itself, it takes in all ends.
    """
    left = max((event.time for event in log if isinstance(event, SweepEnded)), default=0.0)
    ended = (trial for trial in trials if trial.state.ended)
    return frozenset(trial.number for trial in ended if trial.number in taken_in or _end_time(trial) <= left)


def _end_time(trial: TrialRecord) -> float:
    """Return when the newest attempt ended; 0 for a trial that never ran, which only an orchestrator can end."""
    end = trial.newest.end
    return 0.0 if end is None else end.time
