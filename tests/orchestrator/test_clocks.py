"""When this orchestrator saw trials step and end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sweeper.orchestrator.clocks import Clocks
from sweeper.record.events import Exit, Launched
from sweeper.record.facts import Facts
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import TrialRecord

FACTS = Facts(number=3, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)
WAITING = TrialRecord(directory=TrialDir(Path("0003")), facts=FACTS)
RUNNING = WAITING.after([Launched(attempt=1, slot="a")])
ENDED = RUNNING.after([Exit(attempt=1, code=1, signal=None, cause="error", peak_memory_mb=1)])


def test_the_clock_of_a_step_restarts_only_when_a_step_is_made() -> None:
    clocks = Clocks()
    clocks.launched(RUNNING, 10.0)
    assert clocks.update([RUNNING], 20.0) == []
    assert clocks.steps == {3: 10.0}
    stepped = replace(RUNNING, progress=replace(RUNNING.progress, step=5))
    clocks.update([stepped], 30.0)
    assert clocks.steps == {3: 30.0}


def test_an_end_is_reported_once_and_clears_the_clocks_of_the_attempt() -> None:
    clocks = Clocks()
    clocks.launched(RUNNING, 10.0)
    clocks.stopped[3] = clocks.killed[3] = 12.0
    clocks.unkillable.add(3)
    assert clocks.update([ENDED], 15.0) == [ENDED]
    assert clocks.update([ENDED], 16.0) == []
    assert (clocks.ended, clocks.steps, clocks.stopped, clocks.killed, clocks.unkillable) == (
        {3: 15.0},
        {},
        {},
        {},
        set(),
    )
    clocks.launched(RUNNING, 20.0)
    assert clocks.ended == {}


def test_an_attempt_that_ends_before_it_is_read_is_reported() -> None:
    clocks = Clocks()
    clocks.launched(RUNNING, 10.0)
    assert clocks.update([ENDED], 11.0) == [ENDED]
