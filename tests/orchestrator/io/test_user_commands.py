"""Commands of users: the last one for a trial counts, and commands that do not fit are ignored with a message."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.errors import Unwritable
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


HOSTILE = [
    b'{"do": "stop", "number": 0, "because": "\\ud800"}',
    b'{"do": "stop", "number": 0, "by": "\\udfff"}',
    b'{"do": "pause", "to": "\\ud800"}',
    b'{"do": "add", "params": {"lr": NaN}}',
    b'{"do": "add", "params": {"lr": Infinity}}',
    b'{"do": "add", "params": {"\\ud800": 1}}',
    b'{"do": "add", "params": {"lr": 1' + b"0" * 400 + b"}}",
    b'{"do": "add", "params": {"lr": ' + b"[" * 900 + b"]" * 900 + b', "x": "\\ud800"}}',
    b'{"do": "stop", "number": true}',
    b'{"do": "stop", "number": NaN}',
    b'{"do": "first", "numbers": [1e400]}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: content[:40].decode(errors="replace"))
def test_what_cannot_enter_the_record_is_no_command(run: SweepDir, trials: Trials, content: bytes) -> None:
    run.inbox.mkdir()
    (run.inbox / "1.json").write_bytes(content)
    lines: list[str] = []
    commands = UserCommands.receive(run, trials, lines.append)
    assert lines == ["Ignored unrecognised command file: 1.json"]
    assert (commands.by_trial, commands.added, commands.sweep, commands.preferred) == ({}, [], None, [])
    commands.remove_files()
    assert list(run.inbox.iterdir()) == []


def test_what_is_no_file_is_no_command_and_hides_none(run: SweepDir, trials: Trials, tmp_path: Path) -> None:
    run.inbox.mkdir()
    (tmp_path / "outside.json").write_text('{"do": "stop", "number": 1}')
    (run.inbox / "1.json").mkdir()
    os.mkfifo(run.inbox / "2.json")
    (run.inbox / "3.json").symlink_to(tmp_path / "outside.json")
    (run.inbox / "4.json").symlink_to("/dev/zero")
    (run.inbox / "5.json").touch()
    os.truncate(run.inbox / "5.json", 1 << 40)
    (run.inbox / "6.json").write_text('{"do": "pause", "number": 0}')
    lines: list[str] = []
    commands = UserCommands.receive(run, trials, lines.append)
    assert lines == [f"Ignored unrecognised command file: {number}.json" for number in (1, 2, 3, 4, 5)]
    assert commands.by_trial == {0: TrialCommand.PAUSE}
    commands.remove_files()
    assert [path.name for path in run.inbox.iterdir()] == ["1.json"], "a directory is not removed"
    assert (tmp_path / "outside.json").exists()


@pytest.mark.parametrize("kind", ["file", "pipe", "link"])
def test_something_else_in_the_place_of_the_inbox_is_reported(
    run: SweepDir, trials: Trials, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.json").write_text('{"do": "stop", "number": 1}')
    if kind == "file":
        run.inbox.write_text("x")
    elif kind == "pipe":
        os.mkfifo(run.inbox)
    else:
        run.inbox.symlink_to(tmp_path / "outside")
    lines: list[str] = []
    commands = UserCommands.receive(run, trials, lines.append)
    commands.remove_files()
    assert commands.by_trial == {}
    assert len(lines) == 1
    assert lines[0].startswith("Commands from other terminals cannot be read: ")
    with pytest.raises(Unwritable, match="inbox: cannot be written"):
        send(run, ForTrial(do=TrialCommand.STOP, number=0))
    assert (tmp_path / "outside" / "1.json").exists()
    assert os.path.lexists(run.inbox)


def test_each_command_is_an_event_with_its_author_and_reason(run: SweepDir, trials: Trials) -> None:
    send(run, ForTrial(do=TrialCommand.PAUSE, number=1, by="agent 7", because="it is flat"))
    send(run, LaunchFirst(numbers=(1, 0), by="me"))
    send(run, ForSweep(do=SweepCommand.STOP, to="pid 6 on here", by="me"))  # ignored: that orchestrator has ended
    given = list(UserCommands.receive(run, trials, print).given.values())
    assert [(one.do, one.trials, one.by, one.because) for one in given] == [
        ("pause", (1,), "agent 7", "it is flat"),
        ("first", (1, 0), "me", ""),
    ]
