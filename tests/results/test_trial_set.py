"""All trials of a run, read again and again: what has changed is seen, and what rests is not read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeper.record.ended import EndedWriter
from sweeper.record.events import Revived
from sweeper.record.reader import TrialReader, open_trials
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import HistoryEntry, State
from sweeper.results import trial_set
from sweeper.results.trial_set import TrialSet
from tests.service.runs import append, end, launch, make_run, make_trial, prune, report, small


def cached(run: SweepDir) -> SweepDir:
    readers, _ = open_trials(run)
    for reader in readers:
        reader.poll()
    EndedWriter(run, anew=True).append(reader for reader in readers if reader.trial.state.ended)
    return run


@pytest.fixture(params=[False, True], ids=["read", "cached"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> SweepDir:
    made = small(tmp_path)
    return cached(made) if request.param else made


def states(trials: TrialSet) -> dict[int, str]:
    return {number: trial.state.value for number, trial in trials.trials.items()}


def test_only_what_has_changed_is_reported(run: SweepDir) -> None:
    trials = TrialSet(run)
    assert trials.poll() == {0, 1, 2, 3}
    assert trials.poll() == set()
    append(run.trial(1).control, Revived(time=70.0, attempt=1))
    assert trials.poll() == {1}
    assert states(trials) == {0: "COMPLETE", 1: "WAITING", 2: "FAIL", 3: "WAITING"}


def test_new_trials_and_their_end_are_seen(run: SweepDir) -> None:
    trials = TrialSet(run)
    trials.poll()
    made = make_trial(run, 4)
    assert trials.poll() == {4}
    launch(made, [0.3])
    assert trials.poll() == {4}
    report(made, [0.4], first=1)
    assert trials.poll() == {4}
    assert trials.trials[4].value == 0.4
    end(made)
    assert trials.poll() == {4}
    assert trials.poll() == set()


def test_a_trial_that_is_gone_is_gone(run: SweepDir) -> None:
    trials = TrialSet(run)
    trials.poll()
    shutil.rmtree(run.trial(0).path)
    assert 0 in trials.poll()
    assert 0 not in trials.trials


def test_a_trial_that_is_still_being_made_is_seen_once_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_set, "SETTLED_S", -1.0)  # the time of the directory alone would count at once
    run = make_run(tmp_path)
    (run.path / "trials/0000").mkdir()
    trials = TrialSet(run)
    assert trials.poll() == set()
    make_trial_inside(run)
    assert trials.poll() == {0}


def make_trial_inside(run: SweepDir) -> None:
    other = make_trial(make_run(run.path.parent, "other"), 0)
    shutil.copy(other.facts, run.trial(0).facts)


def test_resting_trials_are_not_read_again(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = TrialSet(run)
    trials.poll()
    monkeypatch.setattr(trial_set, "MOST_CHECKED", 1)
    read: list[int] = []
    poll = TrialReader.poll

    def counted(reader: TrialReader) -> list[HistoryEntry]:
        read.append(reader.trial.number)
        return poll(reader)

    monkeypatch.setattr(TrialReader, "poll", counted)
    trials.poll()
    assert len(read) <= 1  # the one that has its turn


def test_in_a_large_run_each_trial_has_its_turn(run: SweepDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_set, "MOST_LOOKED_AT", 1)
    monkeypatch.setattr(trial_set, "MOST_CHECKED", 1)
    trials = TrialSet(run)
    trials.poll()
    append(run.trial(1).control, Revived(time=70.0, attempt=1))
    seen = [trials.poll() for _ in range(4)]
    assert sorted(seen, key=len) == [set(), set(), set(), {1}]
    prune(launch(make_trial(run, 5), [0.1]))
    assert trials.poll() >= {5}  # what is new does not wait
    append(run.trial(5).control, Revived(time=70.0, attempt=1))
    trials.look_at([5])
    assert 5 in trials.poll()  # nor does what a command was sent to
    assert trials.trials[5].state is State.WAITING
