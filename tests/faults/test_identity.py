"""A pid says nothing: only the process that made a claim is ever signalled, and after a reboot none is."""

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
from sweeper.record.storage.claim import make_claim, process_identity
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, SweepDir
from tests.end_to_end.test_sweeps import until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process, which any signal would end."""
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
    assert make_claim(attempt, {**process_identity(stranger.pid), **forgery})
    executor = LocalExecutor([Slot(name="cpu 0", environment={})])
    executor.stop(attempt)
    executor.kill(attempt)
    assert not executor.is_alive(attempt)
    assert lives(stranger)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": true}', '{"pid": -1}', '{"pid": "1"}', '{"pid": 0}'])
def test_a_claim_without_a_process_signals_none(
    attempt: AttemptDir, stranger: subprocess.Popen[bytes], text: str
) -> None:
    attempt.claim.write_text(text)
    executor = LocalExecutor([Slot(name="cpu 0", environment={})])
    executor.stop(attempt)
    executor.kill(attempt)
    assert lives(stranger)


def test_the_process_that_made_the_claim_is_signalled(attempt: AttemptDir, stranger: subprocess.Popen[bytes]) -> None:
    """Without this, the tests above would hold of an executor that signals no process."""
    assert make_claim(attempt, process_identity(stranger.pid))
    LocalExecutor([Slot(name="cpu 0", environment={})]).stop(attempt)
    assert stranger.wait(timeout=60) == -signal.SIGTERM


def test_only_processes_with_the_attempt_in_their_environment_are_killed(
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
