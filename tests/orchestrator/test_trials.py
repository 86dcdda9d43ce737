"""Reading the trials of a sweep incrementally: the result equals a fresh read, and only new data is read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.orchestrator.follower import Follower
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.trials import READ_ALL_EVERY_S, Trials
from sweeper.record.decision import Decision
from sweeper.record.events import Event, Exit, Finished, Launched, Lost, Metrics, Revived, StopRequested
from sweeper.record.reader import open_trials, read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_atomically, write_json
from sweeper.record.trial import State, TrialRecord


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Deaf(AttemptWatcher):
    """AttemptWatcher that miss everything, though they watch."""

    def changed(self) -> set[int] | None:
        return set()


def make(trial: TrialDir) -> None:
    trial.path.mkdir(parents=True)
    facts = {"number": trial.number, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "m", "maximize": True}, sync=False)


def append(path: Path, event: Event) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with JournalWriter(path) as journal:
        journal.append(event)


def end(trial: TrialDir, attempt: int, code: int = 0) -> None:
    exit_ = Exit(attempt=attempt, code=code, signal=None, cause="error" if code else "", peak_memory_mb=1)
    trial.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    write_atomically(trial.attempt(attempt).exit, encode(exit_), sync=False)


def opened(run: SweepDir, watcher: AttemptWatcher, clock: Clock | None = None) -> Trials:
    trials = Trials([], watcher, clock=clock or Clock())
    trials.follow(open_trials(run)[0])
    return trials


@pytest.fixture
def watcher() -> Iterator[AttemptWatcher]:
    watcher = AttemptWatcher.open()
    yield watcher
    watcher.close()


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(3):
        make(run.trial(number))
    return run


def do(trials: Trials, trial: TrialDir, what: str) -> None:
    """Append what a worker would at any time, or what the orchestrator would, which reads it at once."""
    number, attempt = trial.number, trials[trial.number].newest.number
    match what:
        case "launch" if trials[number].state is State.WAITING:
            trial.attempt(attempt + 1).path.mkdir(parents=True, exist_ok=True)
            append(trial.control, Launched(attempt=attempt + 1, slot="a"))
            trials.poll(number)
        case "report" if trials[number].state is State.RUNNING:
            append(trial.attempt(attempt).events, Metrics(step=1, values={"m": 0.5}))
        case "finish" if trials[number].state is State.RUNNING:
            append(trial.attempt(attempt).events, Finished(outcome="completed"))
        case "exit" | "fail" if trials[number].state is State.RUNNING:
            end(trial, attempt, code=int(what == "fail"))
        case "prune" if trials[number].state is State.RUNNING:
            append(trial.control, StopRequested(attempt=attempt, cause="pruned", decision=Decision.read({})))
            trials.poll(number)
        case "lose" if trials[number].state is State.RUNNING:
            append(trial.control, Lost(attempt=attempt))
            trials.poll(number)
        case "revive" if trials[number].state is State.PRUNED:
            append(trial.control, Revived(attempt=attempt))
            trials.poll(number)


WORDS = ["launch", "report", "finish", "exit", "fail", "prune", "lose", "revive"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([*WORDS, "refresh", "change"])), max_size=30))
def test_incremental_reading_equals_a_fresh_read(steps: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, watcher = SweepDir(Path(folder)), AttemptWatcher.open()
        for number in range(3):
            make(run.trial(number))
        trials = opened(run, watcher)
        seen: dict[int, TrialRecord] = {}
        for number, what in steps:
            if what == "refresh":
                trials.refresh()
            elif what == "change":
                seen |= {trial.facts.number: trial for trial in trials.changes()}
            else:
                do(trials, run.trial(number), what)
        trials.refresh()
        seen |= {trial.facts.number: trial for trial in trials.changes()}
        watcher.close()
        fresh = [read_trial(trial) for trial in run.trials()]
        assert trials.all == fresh
        assert {state: trials.in_state(state) for state in State} == {
            state: [trial for trial in fresh if trial.state is state] for state in State
        }
        assert sorted(seen.items()) == [(trial.facts.number, trial) for trial in fresh]


def test_a_refresh_reads_only_trials_that_inotify_reports(
    run: SweepDir, watcher: AttemptWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = opened(run, watcher)
    for number in range(3):
        do(trials, run.trial(number), "launch")
    trials.refresh()
    do(trials, run.trial(1), "report")
    polled = []
    poll = Follower.poll

    def counted(follower: Follower) -> None:
        polled.append(follower.trial.facts.number)
        poll(follower)

    monkeypatch.setattr(Follower, "poll", counted)
    trials.refresh()
    trials.refresh()
    assert polled == [1]
    assert trials[1].progress.step == 1


@pytest.mark.parametrize("kind", [Deaf, AttemptWatcher])
def test_an_event_that_inotify_misses_is_found_a_little_later(run: SweepDir, kind: Any) -> None:
    clock, watcher = Clock(), kind.open()
    trials = opened(run, watcher, clock)
    do(trials, run.trial(0), "launch")
    append(run.trial(0).attempt(1).events, Finished(outcome="completed"))
    end(run.trial(0), 1)
    trials.refresh()
    assert (trials[0].state is State.RUNNING) == (kind is Deaf)
    clock.now += READ_ALL_EVERY_S
    trials.refresh()
    assert trials[0].state is State.COMPLETE
    watcher.close()


def test_without_inotify_every_refresh_reads_the_running_trials(run: SweepDir) -> None:
    trials = opened(run, AttemptWatcher.open(reliable=False))
    do(trials, run.trial(0), "launch")
    do(trials, run.trial(0), "report")
    trials.refresh()
    assert trials[0].progress.step == 1


def test_an_ended_trial_is_not_followed_until_it_is_revived(run: SweepDir, watcher: AttemptWatcher) -> None:
    trials = opened(run, watcher)
    for what in ("launch", "report", "prune", "exit"):
        do(trials, run.trial(0), what)
    trials.refresh()
    assert 0 in [trial.facts.number for trial in trials.changes()]
    assert 0 in trials.followers  # the pruners need its history once more
    assert trials.changes() == []
    assert 0 not in trials.followers
    do(trials, run.trial(0), "revive")
    assert trials[0].state is State.WAITING
    assert trials[0].progress.step == 1


def test_a_trial_with_a_removed_directory_becomes_unreadable(run: SweepDir, watcher: AttemptWatcher) -> None:
    trials = opened(run, watcher)
    do(trials, run.trial(1), "launch")
    shutil.rmtree(run.trial(1).path)
    trials.refresh()
    ((lost, why),) = trials.newly_unreadable()
    assert lost.facts.number == 1
    assert "it is gone" in why
    assert [trial.facts.number for trial in trials.all] == [0, 2]
    assert sorted(trials.unreadable) == [1]


def test_to_launch_counts_trials_that_were_never_launched(run: SweepDir, watcher: AttemptWatcher) -> None:
    trials = opened(run, watcher)
    do(trials, run.trial(0), "launch")
    do(trials, run.trial(0), "lose")
    assert [trial.facts.number for trial in trials.to_launch(1)] == [0, 1]
    assert [trial.facts.number for trial in trials.to_launch(5)] == [0, 1, 2]
    assert list(trials.to_launch(0)) == []
