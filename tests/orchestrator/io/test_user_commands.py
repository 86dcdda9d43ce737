"""Commands of users: the last one for a trial counts, and commands that do not fit are ignored with a message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.io.user_commands import UserCommands
from sweeper.orchestrator.trials import Trials
from sweeper.record.decision import PERSON
from sweeper.record.reader import open_trials
from sweeper.record.storage.inbox import (
    AddConfiguration,
    ForSweep,
    ForTrial,
    LaunchFirst,
    SweepCommand,
    TrialCommand,
    send,
)
from sweeper.record.storage.layout import SweepDir
from tests.orchestrator.test_trials import make


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(2):
        make(run.trial(number))
    run.lease.write_text("pid 7 on here\n")
    return run


@pytest.fixture
def trials(run: SweepDir) -> Iterator[Trials]:
    watcher = AttemptWatcher.open()
    trials = Trials([], watcher)
    trials.follow(open_trials(run)[0])
    yield trials
    watcher.close()


def test_the_last_command_for_a_trial_counts(run: SweepDir, trials: Trials) -> None:
    send(run, ForTrial(do=TrialCommand.STOP, number=0, by="me", because="it diverged"))
    send(run, ForTrial(do=TrialCommand.PAUSE, number=1))
    send(run, ForTrial(do=TrialCommand.STOP, number=1, by="me"))
    send(run, ForTrial(do=TrialCommand.PAUSE, number=0))
    commands = UserCommands.receive(run, trials, print)
    assert commands.by_trial == {0: TrialCommand.PAUSE, 1: TrialCommand.STOP}
    assert list(commands.stops) == [1]
    stop = commands.stops[1]
    assert (stop.rule, stop.reason, stop.evidence) == (PERSON, "it was asked for", {"by": "me"})


def test_commands_to_the_sweep(run: SweepDir, trials: Trials) -> None:
    send(run, ForSweep(do=SweepCommand.PAUSE, to="pid 7 on here"))
    send(run, ForSweep(do=SweepCommand.STOP, to="pid 6 on here"))  # an orchestrator that has ended
    send(run, AddConfiguration(params={"lr": 0.1}))
    send(run, LaunchFirst(numbers=(1, 0)))
    commands = UserCommands.receive(run, trials, print)
    assert commands.sweep is SweepCommand.PAUSE
    assert commands.added == [{"lr": 0.1}]
    assert [list(numbers) for numbers in commands.preferred] == [[1, 0]]
    commands.remove_files()
    assert list(run.inbox.iterdir()) == []


def test_a_command_that_does_not_fit_is_ignored_with_a_message(run: SweepDir, trials: Trials) -> None:
    run.inbox.mkdir()
    (run.inbox / "1.json").write_text('{"do": "fly", "number": 0}')
    (run.inbox / "2.json").write_text("torn")
    (run.inbox / "3.json").write_text('{"do": "stop", "number": 9}')
    lines: list[str] = []
    commands = UserCommands.receive(run, trials, lines.append)
    assert lines == [f"Ignored unrecognised command file: {number}.json" for number in (1, 2, 3)]
    assert commands.by_trial == {}
    commands.remove_files()
    assert list(run.inbox.iterdir()) == []
