"""What is recorded and said about trials that wait although slots are free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from sweeper.executors.executor import Blocker, Executor
from sweeper.orchestrator.resources.waiting import IDLE_AFTER_S, RECORD_AFTER_S, REPEAT_S, UNKNOWN, WaitMonitor
from sweeper.record.events import Exit, Launched, SweepWaiting
from sweeper.record.facts import Facts, RetryPolicy
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import TrialRecord

OTHER = Blocker(text="the sweep /runs/other uses the slots", sweep="/runs/other")


class FakeExecutor:
    def __init__(self) -> None:
        self.blockers: Sequence[Blocker] = ()

    def waits_for(self) -> Sequence[Blocker]:
        return self.blockers


class Scene:
    def __init__(self) -> None:
        self.now = 1000.0
        self.executor, self.said, self.events = FakeExecutor(), list[str](), list[SweepWaiting]()
        self.monitor = WaitMonitor(
            cast("Executor", self.executor),
            self.said.append,
            self.events.append,
            clock=lambda: self.now,
            wall=lambda: self.now + 1e9,
        )

    def pass_(self, seconds: float, trials: Sequence[TrialRecord], *, free: int = 1, running: int = 0) -> None:
        """Let time pass, with an update every second."""
        for _ in range(int(seconds)):
            self.now += 1
            self.monitor.update(trials, free=free, running=running, ended={0: 1000.0})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def trial(backoff_s: float = 0.0) -> TrialRecord:
    """A trial that was killed, with this pause before its retry; without one, a trial that never ran."""
    retry = RetryPolicy(backoff_s=backoff_s)
    facts = Facts(
        number=0, configuration=0, seed=0, params={}, shown={}, command=(), metric="m", maximize=True, retry=retry
    )
    made = TrialRecord(directory=TrialDir(Path("/runs/this/trials/0000")), facts=facts)
    if not backoff_s:
        return made
    killed = Exit(time=2.0, attempt=1, code=None, signal=9, cause="killed", peak_memory_mb=1.0)
    return made.after([Launched(time=1.0, attempt=1, slot="cpu 0"), killed])


def test_a_wait_for_another_sweep_is_recorded_and_said_again_and_again(scene: Scene) -> None:
    scene.executor.blockers = [OTHER]
    scene.pass_(RECORD_AFTER_S, [trial()])
    assert scene.events == []
    scene.pass_(1, [trial()])
    [event] = scene.events
    assert (event.reasons, event.sweeps, event.since) == ((OTHER.text,), ("/runs/other",), 1e9 + 1001.0)
    assert scene.said == []
    scene.pass_(IDLE_AFTER_S, [trial()])
    [first] = scene.said
    assert first.startswith("Trials have waited since ")
    assert first.endswith("(60s): the sweep /runs/other uses the slots")
    scene.pass_(2 * REPEAT_S, [trial()])
    assert len(scene.said) == 3
    assert "(11m00s): the sweep /runs/other" in scene.said[-1]
    assert scene.events == [event]


def test_it_is_said_later_while_other_trials_run(scene: Scene) -> None:
    scene.executor.blockers = [OTHER]
    scene.pass_(REPEAT_S, [trial()], running=1)
    assert (len(scene.said), len(scene.events)) == (0, 1)
    scene.pass_(1, [trial()], running=1)
    assert len(scene.said) == 1


@pytest.mark.parametrize("change", ["granted", "no trial waits", "no slot is free"])
def test_the_end_of_a_wait_is_recorded(scene: Scene, change: str) -> None:
    scene.executor.blockers = [OTHER]
    scene.pass_(20, [trial()])
    if change == "granted":
        scene.executor.blockers = []
    scene.pass_(1, [] if change == "no trial waits" else [trial()], free=change != "no slot is free", running=1)
    assert [bool(event.reasons) for event in scene.events] == [True, False]
    assert scene.monitor.recorded is None
    scene.executor.blockers = [OTHER]
    scene.pass_(RECORD_AFTER_S + 1, [trial()])  # the time counts anew
    assert len(scene.events) == 3


def test_changes_of_what_is_waited_for_are_recorded_now_and_then(scene: Scene) -> None:
    for second in range(100):
        scene.executor.blockers = [Blocker(text=f"reason {second}")]
        scene.pass_(1, [trial()])
    assert 2 < len(scene.events) <= 100 / RECORD_AFTER_S


def test_free_slots_and_waiting_trials_without_a_reason_are_noticed_after_a_minute(scene: Scene) -> None:
    scene.pass_(IDLE_AFTER_S, [trial()])
    assert (scene.said, scene.events) == ([], [])
    scene.pass_(1, [trial()])
    assert UNKNOWN in scene.said[0]
    assert scene.events[0].reasons == (UNKNOWN,)


def test_a_retry_that_is_not_due_is_a_reason(scene: Scene) -> None:
    scene.pass_(70, [trial(backoff_s=100.0)])
    assert "the retry of trial 0000 is due at " in scene.said[0]
    scene.pass_(40, [trial(backoff_s=100.0)])
    assert scene.events[-1].reasons == (UNKNOWN,)  # it was due 10 seconds ago


def test_nothing_is_said_of_a_sweep_that_runs_on_all_that_it_may_use(scene: Scene) -> None:
    scene.pass_(1000, [trial()], free=1, running=1)
    scene.pass_(1000, [trial()], free=0, running=2)
    scene.pass_(1000, [], free=1, running=0)
    assert (scene.said, scene.events) == ([], [])
