"""The trials of a sweep kept up as they grow: the same as read anew, at the cost of what is new."""

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
from sweeper.orchestrator.io.inotify import Notices
from sweeper.orchestrator.trials import LOOK_EVERY_S, Trials
from sweeper.record.events import Event, Exit, Finished, Launched, Lost, Metrics, Revived, StopRequested, encode
from sweeper.record.fold import State
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_atomically, write_json
from sweeper.record.trial import Trial, open_trials, read_trial


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Deaf(Notices):
    """Notices that miss everything, though they watch."""

    def take(self) -> set[int] | None:
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


def opened(run: SweepDir, notices: Notices, clock: Clock | None = None) -> Trials:
    trials = Trials([], notices, clock=clock or Clock())
    trials.read(open_trials(run)[0])
    return trials


@pytest.fixture
def notices() -> Iterator[Notices]:
    notices = Notices.here()
    yield notices
    notices.close()


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(3):
        make(run.trial(number))
    return run


def do(trials: Trials, trial: TrialDir, what: str) -> None:
    """Append what a worker would at any time, or what the orchestrator would, which reads it at once."""
    number, attempt = trial.number, trials[trial.number].control.attempt
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
            append(trial.control, StopRequested(attempt=attempt, cause="pruned", decision={}))
            trials.poll(number)
        case "lose" if trials[number].state is State.RUNNING:
            append(trial.control, Lost(attempt=attempt))
            trials.poll(number)
        case "revive" if trials[number].state is State.PRUNED:
            append(trial.control, Revived(attempt=attempt))
            trials.poll(number)


WORDS = ["launch", "report", "finish", "exit", "fail", "prune", "lose", "revive"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([*WORDS, "look", "change"])), max_size=30))
def test_kept_up_they_are_what_a_fresh_reading_finds(deeds: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run, notices = SweepDir(Path(folder)), Notices.here()
        for number in range(3):
            make(run.trial(number))
        trials = opened(run, notices)
        seen: dict[int, Trial] = {}
        for number, what in deeds:
            if what == "look":
                trials.look()
            elif what == "change":
                seen |= {trial.facts.number: trial for trial in trials.changes()}
            else:
                do(trials, run.trial(number), what)
        trials.look()
        seen |= {trial.facts.number: trial for trial in trials.changes()}
        notices.close()
        fresh = [read_trial(trial) for trial in run.trials()]
        assert trials.all == fresh
        assert {state: trials.of(state) for state in State} == {
            state: [trial for trial in fresh if trial.state is state] for state in State
        }
        assert sorted(seen.items()) == [(trial.facts.number, trial) for trial in fresh]


def test_a_look_reads_only_whom_the_kernel_names(
    run: SweepDir, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = opened(run, notices)
    for number in range(3):
        do(trials, run.trial(number), "launch")
    trials.look()
    do(trials, run.trial(1), "report")
    polled = []
    poll = Follower.poll

    def counted(follower: Follower) -> None:
        polled.append(follower.trial.facts.number)
        poll(follower)

    monkeypatch.setattr(Follower, "poll", counted)
    trials.look()
    trials.look()
    assert polled == [1]
    assert trials[1].progress.step == 1


@pytest.mark.parametrize("kind", [Deaf, Notices])
def test_what_the_kernel_does_not_tell_is_found_a_little_later(run: SweepDir, kind: Any) -> None:
    clock, notices = Clock(), kind.here()
    trials = opened(run, notices, clock)
    do(trials, run.trial(0), "launch")
    append(run.trial(0).attempt(1).events, Finished(outcome="completed"))
    end(run.trial(0), 1)
    trials.look()
    assert (trials[0].state is State.RUNNING) == (kind is Deaf)
    clock.now += LOOK_EVERY_S
    trials.look()
    assert trials[0].state is State.COMPLETE
    notices.close()


def test_where_nothing_is_told_each_look_reads_who_runs(run: SweepDir) -> None:
    trials = opened(run, Notices.here(trusted=False))
    do(trials, run.trial(0), "launch")
    do(trials, run.trial(0), "report")
    trials.look()
    assert trials[0].progress.step == 1


def test_who_has_ended_is_followed_no_more_and_read_again_when_revived(run: SweepDir, notices: Notices) -> None:
    trials = opened(run, notices)
    for what in ("launch", "report", "prune", "exit"):
        do(trials, run.trial(0), what)
    trials.look()
    assert 0 in [trial.facts.number for trial in trials.changes()]
    assert 0 in trials.followers  # those who compare want its history once more
    assert trials.changes() == []
    assert 0 not in trials.followers
    do(trials, run.trial(0), "revive")
    assert trials[0].state is State.WAITING
    assert trials[0].progress.step == 1


def test_a_directory_that_is_taken_away_is_told_and_given_up(run: SweepDir, notices: Notices) -> None:
    trials = opened(run, notices)
    do(trials, run.trial(1), "launch")
    shutil.rmtree(run.trial(1).path)
    trials.look()
    ((lost, why),) = trials.losses()
    assert lost.facts.number == 1
    assert "it is gone" in why
    assert [trial.facts.number for trial in trials.all] == [0, 2]
    assert sorted(trials.gone) == [1]


def test_so_many_are_to_be_launched_as_were_never_launched(run: SweepDir, notices: Notices) -> None:
    trials = opened(run, notices)
    do(trials, run.trial(0), "launch")
    do(trials, run.trial(0), "lose")
    assert [trial.facts.number for trial in trials.to_launch(1)] == [0, 1]
    assert [trial.facts.number for trial in trials.to_launch(5)] == [0, 1, 2]
    assert list(trials.to_launch(0)) == []
