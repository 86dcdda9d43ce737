"""The part of each process in an attempt, and the trial that sweeper opens for a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import sweeper
from sweeper.auto import session as module
from sweeper.auto.session import MOST_NAMES, Part, Session
from sweeper.errors import Unwritable
from sweeper.record.events import Finished, Inferred, Metrics, Started
from sweeper.worker import opening
from sweeper.worker.trial import recorder_of
from tests.auto.conftest import Record

Exits = Sequence[Callable[[], object]]


def end(exits: Exits) -> None:
    """End this process as Python does."""
    for handler in reversed(exits):
        handler()


def test_nothing_is_recorded_before_there_is_something_to_record(session: Session, record: Record) -> None:
    assert session.part is Part.UNDECIDED
    assert not record.events
    assert not record.attempt.watched_by.exists()


def test_the_first_use_opens_the_trial_and_the_exit_ends_it(session: Session, record: Record, exits: Exits) -> None:
    assert session.trial is session.trial is opening.current()
    assert session.part is Part.WRITER
    assert len(record.of(Started)) == 1
    flushed: list[bool] = []
    session.on_end(lambda: flushed.append(not record.of(Finished)))
    end(exits)
    assert [event.outcome for event in record.of(Finished)] == ["completed"]
    assert flushed == [True]


def test_one_process_of_an_attempt_writes(session: Session, record: Record) -> None:
    other = Session(record.directory, record.attempt)
    assert session.trial is not None
    assert other.trial is None
    assert other.is_silent
    other.log("wandb.log", {"x": 1.0})
    other.note("hello")
    assert not record.of(Metrics)
    assert not record.notes


def test_another_rank_takes_part_and_writes_nothing(
    session: Session, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_rank", lambda: 1)
    assert session.trial is not None
    assert session.part is Part.MEMBER
    assert not record.attempt.events.exists()
    assert not record.attempt.watched_by.exists()


def in_a_fork(do: Callable[[], bool]) -> bool:
    """Return what a function returns in a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if do() else 1)
        except BaseException:  # noqa: BLE001 - the child must end here
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_forked_by_the_writer_is_silent_and_ends_by_sigterm(session: Session, record: Record) -> None:
    trial = session.trial
    assert trial is not None
    signal.signal(signal.SIGTERM, recorder_of(trial).request_stop)

    def child() -> bool:
        session._leave_to_parent()
        trial.note("not recorded")
        session.log("wandb.log", {"x": 1.0})
        return session.is_silent and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    assert in_a_fork(child)
    trial.note("of the parent")
    assert record.notes == "of the parent"


def test_a_child_of_a_process_that_trains_nothing_may_be_the_one_that_trains(session: Session, record: Record) -> None:
    def child() -> bool:
        session._leave_to_parent()
        session.note("of the child")
        return session.part is Part.WRITER

    assert in_a_fork(child)
    assert record.notes == "watch: auto: of the child"
    assert session.trial is None
    assert session.is_silent


def test_a_bystander_does_not_open_the_trial_at_its_exit(
    session: Session, record: Record, exits: Exits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spawned worker that imports the script makes its optimizers too."""
    session.on_exit(lambda: session.note("no step was seen"))
    monkeypatch.setattr(module, "_is_child", lambda: True)
    end(exits)
    assert not record.attempt.watched_by.exists()
    monkeypatch.setattr(module, "_is_child", lambda: False)
    end(exits)
    assert record.notes == "watch: auto: no step was seen"


def test_the_script_takes_the_trial_over(session: Session, record: Record) -> None:
    told: list[str] = []
    session.on_hand_over(lambda: told.append("handed over"))
    session.log("wandb.log", {"x": 1.0})
    automatic = session.trial
    with sweeper.trial(defaults={"width": 3}) as trial:
        assert trial is automatic
        assert told == ["handed over"]
        assert session.is_silent
        session.log("wandb.log", {"x": 2.0})
        trial.report({"mine": 5.0}, step=0)
    assert [event.values for event in record.of(Metrics)] == [{"x": 1.0}, {"mine": 5.0}]
    assert len(record.of(Started)) == len(record.of(Finished)) == 1


def test_a_script_that_opened_its_trial_first_is_left_alone(session: Session, record: Record) -> None:
    with sweeper.trial():
        assert session.trial is None
        assert not record.attempt.watched_by.exists()


def test_an_error_of_the_watch_is_noted_once_and_never_raised(session: Session, record: Record) -> None:
    def fail() -> None:
        raise ZeroDivisionError("odd")

    assert session.guarded("counting", fail) is None
    session.guarded("counting", fail)
    assert record.notes == "watch: auto: counting failed, so it is missing: ZeroDivisionError: odd"
    assert session.guarded("counting", lambda value: value, 3) == 3


def test_a_record_that_cannot_be_written_is_raised(session: Session) -> None:
    def fail() -> None:
        raise Unwritable("disk full")

    with pytest.raises(Unwritable):
        session.guarded("counting", fail)


def test_a_trial_that_cannot_be_opened_is_said_once(
    session: Session, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    record.directory.facts.write_text("{")
    assert session.trial is None
    session.note("lost")
    assert capsys.readouterr().err.count("sweeper: this process is not watched: ") == 1


def test_a_note_after_the_end_is_dropped(session: Session, record: Record, exits: Exits) -> None:
    session.note("before")
    end(exits)
    session.note("a thread goes on")
    assert record.notes == "watch: auto: before"


def test_a_script_may_change_its_environment_and_folder(
    session: Session, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path)
    session.note("found")
    assert record.notes == "watch: auto: found"
    assert not (tmp_path / "runs").exists()


def test_metrics_without_an_optimizer_are_at_the_scripts_own_step(session: Session, record: Record) -> None:
    session.log("wandb.log", {"x": 1.0}, step=30)
    session.log("wandb.log", {"x": 2.0})
    session.log("wandb.log", {"x": 3.0}, step=-1)
    assert record.metric("x") == {30: 1.0, 31: 2.0, 32: 3.0}


def test_the_names_of_logged_metrics_are_recorded_once(session: Session, record: Record) -> None:
    for values in ({"x": 1.0}, {"x": 2.0, "y": 1.0}, {f"many_{i}": 0.0 for i in range(2 * MOST_NAMES)}, {"z": 1.0}):
        session.log("wandb.log", values)
    names = [event.names for event in record.of(Inferred)]
    assert names[:2] == [("x",), ("y",)]
    assert len(names) == 3
    assert len(names[2]) == MOST_NAMES


def test_what_was_found_is_recorded_when_it_changes(session: Session, record: Record) -> None:
    for names in (["a"], ["a"], [], ["a", "b"]):
        session.infer("optimizers", names)
    assert [event.names for event in record.of(Inferred)] == [("a",), ("a", "b")]


@pytest.mark.skipif(sys.platform != "linux", reason="another default")
def test_multiprocessing_knows_its_children() -> None:
    from multiprocessing import get_context

    assert not module._is_child()
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(module._is_child)


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_process_that_comes_after_the_recorded_one_says_that_it_is_not_watched(
    session: Session, record: Record, capsys: pytest.CaptureFixture[str], is_alive: bool
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    record.attempt.watched_by.write_text(f"{os.getpid() if is_alive else ended.pid}\n")
    assert session.trial is None
    said = f"sweeper: this process is not watched: one process of an attempt is, and that was process {ended.pid}, "
    assert capsys.readouterr().err == ("" if is_alive else f"{said}which has ended\n")


def test_a_process_that_cannot_claim_the_attempt_says_so(
    session: Session, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    record.attempt.path.rename(record.attempt.path.with_name("moved"))
    assert session.trial is None
    assert capsys.readouterr().err.endswith("watched-by: No such file or directory\n")
