"""The health of a trial is recorded while it runs, once, and only for trials that this orchestrator runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from sweeper.orchestrator.follower import Follower
from sweeper.record.derivation import Derivation
from sweeper.record.events import Diagnosed, Event, Launched, Lost, Plan, Resumed, Started
from sweeper.record.inheritance import inherited
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.rules import rules_of
from tests.rules.histories import Run, constant, falling, noisy
from tests.views.synthetic import make_trial

VANISHED = Run(steps=300, losses={"loss/train": noisy(constant(2.3), 0.02)}, reach=constant(1e-5))


@pytest.fixture
def trial(tmp_path: Path) -> TrialDir:
    return make_trial(SweepDir(tmp_path), 0)


def append(trial: TrialDir, *events: Event, attempt: int = 1) -> None:
    folder = trial.attempt(attempt).path
    folder.mkdir(parents=True, exist_ok=True)
    with JournalWriter(trial.attempt(attempt).events) as journal:
        for event in events:
            journal.append(event)


def record(trial: TrialDir, follower: Follower) -> list[Diagnosed]:
    """Record the changes of health as the orchestrator does."""
    events = [Diagnosed(attempt=1, **asdict(change)) for change in follower.changes_of_health()]
    with JournalWriter(trial.control) as control:
        for event in events:
            control.append(event)
    follower.poll()
    return events


def launched(trial: TrialDir) -> Follower:

    with JournalWriter(trial.control) as control:
        control.append(Launched(attempt=1, slot="cpu 0"))
    append(trial, Started(pid=1, host="here", attempt=1), *VANISHED.events())
    follower = Follower.of(trial, rules_of(None))
    follower.poll()
    return follower


def test_a_diagnosis_is_recorded_once(trial: TrialDir) -> None:
    follower = launched(trial)
    follower.launched()
    (event,) = [one for one in record(trial, follower) if one.diagnosis == "vanishing_gradient"]
    assert event.holds
    assert "no longer reaches" in event.reason
    assert event.evidence["statistic"] == "reach"
    assert record(trial, follower) == []
    assert read_trial(trial).health["vanishing_gradient"].since == event.since


def test_a_takeover_records_nothing_twice(trial: TrialDir) -> None:
    first = launched(trial)
    first.launched()
    record(trial, first)
    second = Follower.of(trial, rules_of(None))
    second.poll()
    assert second.decision is None
    assert second.changes_of_health() == []


def test_the_record_of_an_earlier_run_does_not_grow(trial: TrialDir) -> None:
    assert launched(trial).changes_of_health() == []


def test_a_diagnosis_after_the_checkpoint_of_a_retry_no_longer_holds(trial: TrialDir) -> None:

    follower = launched(trial)
    follower.launched()
    record(trial, follower)
    with JournalWriter(trial.control) as control:
        control.append(Lost(attempt=1))
        control.append(Launched(attempt=2, slot="cpu 0"))
    append(trial, Started(pid=2, host="here", attempt=2), Resumed(step=10), attempt=2)
    follower.poll()
    record(trial, follower)
    assert "vanishing_gradient" not in read_trial(trial).health


CHECKPOINT = 299
LEARNED = Run(losses={"loss/train": noisy(falling(2.3, 0.02, 0.02), 0.002)})


def derived(tmp_path: Path, later: Run, *, restores: bool = True) -> TrialDir:
    """Make a trial that learned, and one that continues from its checkpoint as `later` does."""
    sweep = SweepDir(tmp_path)
    parent = make_trial(sweep, 0)
    child = make_trial(
        sweep, 1, derived=Derivation(parent=0, step=CHECKPOINT, checkpoint="step-000000299.3fa94c01d2e7b655.pt")
    )
    events = later.events()
    if restores:
        plans = [event for event in events if isinstance(event, Plan)]
        events = [event for event in events if getattr(event, "step", -1) > CHECKPOINT]
        events = [*plans, Resumed(step=CHECKPOINT), *events]
    for one, measured in ((parent, LEARNED.events()), (child, events)):
        with JournalWriter(one.control) as control:
            control.append(Launched(attempt=1, slot="cpu 0"))
        append(one, Started(pid=1, host="here", attempt=1), *measured)
    return child


def begun(trial: TrialDir) -> set[str]:
    follower = Follower.of(trial, rules_of(None))
    follower.launched()
    follower.poll()
    return {change.diagnosis for change in follower.changes_of_health()}


def test_a_derived_trial_is_compared_with_the_start_of_its_ancestors(tmp_path: Path) -> None:
    """It keeps what its parent learned. Against the level at the checkpoint, it would have learned nothing."""
    flat = Run(losses={"loss/train": noisy(constant(0.03), 0.004)})
    assert begun(derived(tmp_path / "one", flat)) <= {"converged"}
    assert "stuck" in begun(derived(tmp_path / "two", flat, restores=False))


def test_a_derived_trial_that_keeps_most_of_its_gain_has_not_collapsed(tmp_path: Path) -> None:
    higher = Run(losses={"loss/train": noisy(lambda step: 0.02 if step < 350 else 0.6, 0.002)})
    assert "collapsed" not in begun(derived(tmp_path / "one", higher))
    lost = Run(losses={"loss/train": noisy(lambda step: 0.02 if step < 350 else 2.3, 0.002)})
    assert "collapsed" in begun(derived(tmp_path / "two", lost))


def test_what_held_before_the_checkpoint_is_not_recorded_again(tmp_path: Path) -> None:
    child = derived(tmp_path, LEARNED)
    assert len(inherited(Follower.of(child, []).trial.facts, child)) > CHECKPOINT
    follower = Follower.of(child, rules_of(None))
    follower.launched()
    follower.poll()
    assert all(change.step > CHECKPOINT for change in follower.changes_of_health())
