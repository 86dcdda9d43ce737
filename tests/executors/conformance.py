"""Tests that every executor passes, with real processes and real signals.

A subclass provides the fixture ``subject``: how its executor is made, and how the machine of an attempt is lost. All
machines are simulated on this one, so that tests can inspect processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from sweeper.executors.executor import Executor
from sweeper.record.events import Exit
from sweeper.record.reader import read_exit
from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, write_json

PATIENCE_S = 100.0

LISTENS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print('ready', flush=True)
time.sleep(60)
"""
SLEEPS = "import time\nprint('ready', flush=True)\ntime.sleep(60)"
DEAF_WITH_CHILDREN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleep = [sys.executable, '-c', 'import time; time.sleep(300)']
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print(*[child.pid for child in children], 'ready', flush=True)
time.sleep(300)
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


class Subject(Protocol):
    """An executor under test, and its run."""

    run: SweepDir

    def executor(self) -> Executor:
        """Make another executor, as another orchestrator would; the fixture closes it."""

    def lose(self, attempt: AttemptDir) -> None:
        """Make the machine of the attempt fail."""


def make_trial(run: SweepDir, number: int = 0) -> TrialDir:
    trial = run.trial(number)
    trial.path.mkdir(parents=True)
    facts = {"number": number, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": [], "metric": "m"}
    write_json(trial.facts, {**facts, "maximize": True})
    return trial


def launch(executor: Executor, trial: TrialDir, code: str, attempt: int = 1) -> AttemptDir:
    script = trial.path.parents[1] / f"script_{trial.number}.py"
    script.write_text(code)
    executor.launch(trial, attempt, [sys.executable, str(script)], executor.slots()[0])
    return trial.attempt(attempt)


def over(executor: Executor, attempt: AttemptDir) -> None:
    until(lambda: not executor.is_alive(attempt))


def ended(executor: Executor, attempt: AttemptDir) -> Exit:
    over(executor, attempt)
    exit_ = read_exit(attempt)
    assert exit_ is not None
    return exit_


def running(attempt: AttemptDir, word: bytes = b"ready") -> list[str]:
    """Wait for a word in the output; return the words before it."""
    until(lambda: attempt.output.exists() and word in attempt.output.read_bytes())
    return attempt.output.read_text().split(word.decode())[0].split()


def shim_of(attempt: AttemptDir) -> int:
    until(lambda: "pid" in owner_of(attempt))
    return int(str(owner_of(attempt)["pid"]))


def is_gone(pid: object) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


class Conformance:
    """The tests that every executor passes."""

    @pytest.fixture
    def trial(self, subject: Subject) -> TrialDir:
        return make_trial(subject.run)

    @pytest.fixture
    def executor(self, subject: Subject) -> Executor:
        return subject.executor()

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("pass", (0, None, "")),
            ("raise SystemExit(3)", (3, None, "error")),
            ("import os; os.kill(os.getpid(), 9)", (None, 9, "killed")),
            ("import ctypes; ctypes.string_at(0)", (None, 11, "error")),
        ],
    )
    def test_the_end_of_a_worker_is_recorded(
        self, executor: Executor, trial: TrialDir, code: str, expected: tuple[int | None, int | None, str]
    ) -> None:
        exit_ = ended(executor, launch(executor, trial, code))
        assert (exit_.code, exit_.signal, exit_.cause) == expected
        assert exit_.peak_memory_mb > 1

    def test_a_missing_command_is_reported_in_the_output(self, executor: Executor, trial: TrialDir) -> None:
        executor.launch(trial, 1, ["/no/such/command"], executor.slots()[0])
        exit_ = ended(executor, trial.attempt(1))
        assert (exit_.code, exit_.cause) == (127, "not-found")
        assert b"/no/such/command: cannot be started" in trial.attempt(1).output.read_bytes()

    def test_output_is_complete_and_the_environment_comes_from_slot_and_trial(
        self, executor: Executor, trial: TrialDir
    ) -> None:
        code = """
import json, os
from pathlib import Path
trial = Path(os.environ['SWEEPER_TRIAL_DIR'])
(trial / 'kept').mkdir(exist_ok=True)
(trial / 'kept' / 'file').write_text('of the script')
number = json.loads((trial / 'trial.json').read_text())['number']
print(number, os.environ['SWEEPER_ATTEMPT'], os.environ['OMP_NUM_THREADS'])
os.write(1, bytes(range(256)))
"""
        attempt = launch(executor, trial, code)
        ended(executor, attempt)
        assert attempt.output.read_bytes() == b"0 1 1\n" + bytes(range(256))
        assert (trial.path / "kept" / "file").read_text() == "of the script"

    def test_a_stop_reaches_the_worker(self, executor: Executor, trial: TrialDir) -> None:
        attempt = launch(executor, trial, LISTENS)
        running(attempt)
        assert executor.is_alive(attempt)
        executor.stop(attempt)
        assert ended(executor, attempt).code == 5

    def test_a_kill_ends_a_worker_that_ignores_a_stop_and_all_its_children(
        self, executor: Executor, trial: TrialDir
    ) -> None:
        attempt = launch(executor, trial, DEAF_WITH_CHILDREN)
        pids = running(attempt)
        executor.stop(attempt)
        executor.kill(attempt)
        assert ended(executor, attempt).signal == signal.SIGKILL
        assert all(is_gone(pid) for pid in pids)

    def test_processes_that_handle_the_signal_write_their_stacks(self, executor: Executor, trial: TrialDir) -> None:
        code = """
import faulthandler, signal, time
faulthandler.register(signal.SIGUSR1)
print('ready', flush=True)
def waits_for_ever():
    time.sleep(60)
waits_for_ever()
"""
        attempt = launch(executor, trial, code)
        running(attempt)
        executor.dump(attempt)
        running(attempt, b"waits_for_ever")
        assert executor.is_alive(attempt)
        executor.stop(attempt)
        assert ended(executor, attempt).signal == signal.SIGTERM

    def test_an_attempt_runs_once_while_it_runs_and_after_it_ended(
        self, subject: Subject, executor: Executor, trial: TrialDir
    ) -> None:
        attempt = launch(executor, trial, f"print('THE FIRST')\n{SLEEPS}")
        running(attempt)
        other = subject.executor()
        launch(other, trial, "print('ANOTHER')")
        executor.stop(attempt)
        over(other, attempt)
        launch(subject.executor(), trial, "print('ANOTHER')")
        over(other, attempt)
        assert attempt.output.read_text().count("THE FIRST") == 1
        assert "ANOTHER" not in attempt.output.read_text()

    def test_another_orchestrator_takes_over(self, subject: Subject, executor: Executor, trial: TrialDir) -> None:
        attempt = launch(executor, trial, LISTENS)
        running(attempt)
        later = subject.executor()
        assert later.is_alive(attempt)
        later.stop(attempt)
        assert ended(later, attempt).code == 5
        over(subject.executor(), attempt)

    def test_an_attempt_that_was_never_started_is_not_alive(self, subject: Subject, trial: TrialDir) -> None:
        attempt = trial.attempt(1)
        attempt.path.mkdir(parents=True)
        later = subject.executor()
        over(later, attempt)
        assert read_exit(attempt) is None

    def test_a_worker_without_its_shim_is_ended_and_has_no_exit(self, executor: Executor, trial: TrialDir) -> None:
        attempt = launch(executor, trial, f"import os\nprint(os.getpid())\n{SLEEPS}")
        [worker] = running(attempt)
        os.kill(shim_of(attempt), signal.SIGKILL)
        over(executor, attempt)
        assert is_gone(worker)
        assert read_exit(attempt) is None

    def test_a_lost_attempt_ends_with_all_its_processes_and_the_trial_continues_elsewhere(
        self, subject: Subject, executor: Executor, trial: TrialDir
    ) -> None:
        attempt = launch(executor, trial, DEAF_WITH_CHILDREN)
        pids = [*running(attempt), str(shim_of(attempt))]
        subject.lose(attempt)
        over(executor, attempt)
        executor.kill(attempt)  # as the orchestrator does with a lost attempt
        until(lambda: all(is_gone(pid) for pid in pids))
        again = launch(executor, trial, "print('again')", attempt=2)
        assert ended(executor, again).code == 0
        assert again.output.read_text() == "again\n"

    def test_a_late_start_is_fenced_off(self, subject: Subject, executor: Executor, trial: TrialDir) -> None:
        attempt = launch(executor, trial, "print('once')")
        ended(executor, attempt)
        arguments = [str(trial.path), "1", "true"]
        late = subprocess.run(
            [sys.executable, "-m", "sweeper.worker.process.shim", *arguments], capture_output=True, text=True
        )
        assert late.returncode == os.EX_TEMPFAIL
        assert "an attempt runs once" in late.stderr
