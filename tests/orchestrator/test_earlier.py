"""Which ends an earlier call has seen, by the cache of ended trials and by the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.orchestrator.earlier import ended_earlier
from sweeper.record.decision import Decision
from sweeper.record.events import PRUNED, Event, StopRequested, SweepEnded, SweepStarted
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import TrialRecord
from tests.views.synthetic import START, Script, make_trial, play


def trials_of(folder: Path) -> list[TrialRecord]:
    """One that ended, one that runs, one that a person ended before it ever ran."""
    run = SweepDir(folder)
    play(make_trial(run, 0), Script())
    play(make_trial(run, 1), Script(until=320, outcome="", exit_code=None))
    decision = Decision(rule="a person", step=-1, reason="it is not needed", evidence={"by": "me"})
    with JournalWriter(make_trial(run, 2).control) as control:
        control.append(StopRequested(attempt=0, time=START, cause=PRUNED, decision=decision))
    return [read_trial(trial) for trial in run.trials()]


def started(at: float) -> Event:
    return SweepStarted(time=at, pid=1, host="here", profile="", slots=("cpu 0",))


def ended(at: float) -> Event:
    return SweepEnded(time=at, outcome="interrupted", seconds=1.0)


@pytest.mark.parametrize(
    ("taken_in", "log", "expected"),
    [
        ([], [], {2}),  # a new sweep has no such trial: only an orchestrator ends one that never ran
        ([0], [], {0, 2}),
        ([1], [], {2}),  # it was revived or retried since
        ([], [started(START), ended(START + 1e6)], {0, 2}),
        ([], [started(START), ended(START + 1), started(START + 2)], {2}),  # the last call was killed before the end
    ],
)
def test_an_end_was_seen_by_an_earlier_call(
    tmp_path: Path, taken_in: list[int], log: list[Event], expected: set[int]
) -> None:
    assert ended_earlier(trials_of(tmp_path), taken_in, log) == expected
