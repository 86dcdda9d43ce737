"""A pid says nothing: only the process that made a claim is ever signalled, and after a reboot nobody is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.processes import kill_marked
from sweeper.record.claim import owner_of, process_identity, stake
from sweeper.record.events import Lost
from sweeper.record.journal import read_journal
from sweeper.record.layout import ATTEMPT, TRIAL_DIR, AttemptDir, SweepDir, write_json
from tests.faults.small import VALUES, Patient, kill_attempts
from tests.test_end_to_end import LEARNER, grid, steps_seen, until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process, that any signal would end."""
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    directory = SweepDir(tmp_path / "sweep").trial(0).attempt(1)
    directory.path.mkdir(parents=True)
    return directory


def lives(process: subprocess.Popen[bytes]) -> bool:
    time.sleep(0.2)  # a signal arrives at once; if it were sent, it would be seen by now
    return process.poll() is None


FORGERIES: dict[str, dict[str, Any]] = {
    "started at another time": {"start": 1},
    "in another boot": {"boot": "00000000-0000-0000-0000-000000000000"},
    "on another host": {"host": "elsewhere"},
    "without a start": {"start": None},
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_no_stranger_that_has_the_pid_of_a_claim_is_signalled(
    attempt: AttemptDir, stranger: subprocess.Popen[bytes], forgery: dict[str, Any]
) -> None:
    assert stake(attempt, {**process_identity(stranger.pid), **forgery})
    executor = LocalExecutor([Slot(name="cpu 0", environment={})])
    executor.stop(attempt)
    executor.kill(attempt)
    assert not executor.is_alive(attempt)
    assert lives(stranger)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": true}', '{"pid": -1}', '{"pid": "1"}', '{"pid": 0}'])
def test_a_claim_that_names_nobody_signals_nobody(
    attempt: AttemptDir, stranger: subprocess.Popen[bytes], text: str
) -> None:
    attempt.claim.write_text(text)
    executor = LocalExecutor([Slot(name="cpu 0", environment={})])
    executor.stop(attempt)
    executor.kill(attempt)
    assert lives(stranger)


def test_the_process_that_made_the_claim_is_signalled(attempt: AttemptDir, stranger: subprocess.Popen[bytes]) -> None:
    """Without this, the tests above would hold of an executor that signals nobody."""
    assert stake(attempt, process_identity(stranger.pid))
    LocalExecutor([Slot(name="cpu 0", environment={})]).stop(attempt)
    assert stranger.wait(timeout=60) == -signal.SIGTERM


def test_only_processes_whose_environment_names_the_attempt_are_killed(
    attempt: AttemptDir, stranger: subprocess.Popen[bytes]
) -> None:
    trial = str(attempt.path.parent.parent.absolute())
    marks = {
        "own": {TRIAL_DIR: trial, ATTEMPT: "1"},
        "other attempt": {TRIAL_DIR: trial, ATTEMPT: "11"},
        "other trial": {TRIAL_DIR: trial + "0", ATTEMPT: "1"},
        "no attempt": {TRIAL_DIR: trial},
        "in another variable": {"NOTE": f"{TRIAL_DIR}={trial}", ATTEMPT: "1"},
    }
    processes = {
        name: subprocess.Popen(["sleep", "1000"], env={**os.environ, **mark}, start_new_session=True)
        for name, mark in marks.items()
    }
    try:
        until(lambda: all(Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n" for process in processes.values()))
        kill_marked(attempt)
        assert processes["own"].wait(timeout=60) == -signal.SIGKILL
        assert [name for name, process in processes.items() if lives(process)] == list(marks)[1:]
        assert lives(stranger)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _give_pid(sweep: Patient, pid: int, **forged: object) -> int:
    """Let every claim of attempts that did not end name `pid`; how many there are."""
    count = 0
    for trial in sweep.run_dir.trials():
        for attempt in trial.attempts():
            if not attempt.exit.exists():
                write_json(attempt.claim, {**owner_of(attempt), "pid": pid, **forged})
                count += 1
    return count


def test_a_takeover_after_a_reboot_resumes_what_ran_and_signals_nobody(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    sweep = Patient(tmp_path, LEARNER, grid("rebooted", pace=0.1))
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: steps_seen(sweep, 5))
    process.kill()
    process.communicate()
    kill_attempts(sweep.run_dir)
    boot = "00000000-0000-0000-0000-000000000000"
    start = process_identity(stranger.pid)["start"]  # pids begin anew after a boot, and so do their start times
    assert _give_pid(sweep, stranger.pid, boot=boot, start=start) == 2
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert lives(stranger)
    assert sweep.values() == VALUES
    assert [trial["attempts"] for trial in sweep.status()["trials"]] == [2, 2]
    for trial in sweep.run_dir.trials():
        assert [event.attempt for event in read_journal(trial.control) if isinstance(event, Lost)] == [1]


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)


def test_a_stranger_named_by_the_claims_of_living_workers_is_left_alone(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    """The workers live, so their leases are held; but their claims were edited to name somebody else.

    To who takes over, their shims are gone: what bears the mark of the attempts is ended, and they are run again.
    """
    sweep = Patient(tmp_path, LEARNER, grid("forged", pace=0.3))
    process = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: steps_seen(sweep, 3))
    process.kill()
    process.communicate()
    assert _give_pid(sweep, stranger.pid) == 2
    code, out, err = sweep.call("run", "sweep.yaml", "--workers", "2")
    assert code == 0, out + err
    assert lives(stranger)
    assert [trial["attempts"] for trial in sweep.status()["trials"]] == [2, 2]
    assert sweep.values() == VALUES
