"""The local executor and its shim, with real processes and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.processes import kill_marked
from sweeper.record.events import Exit
from sweeper.record.reader import read_exit
from sweeper.record.storage.claim import make_claim, owner_of
from sweeper.record.storage.layout import AttemptDir, TrialDir, write_json

SLOT = Slot(name="cpu 0", environment={"OMP_NUM_THREADS": "1"})
PATIENCE_S = 90.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialDir:
    monkeypatch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
    directory = TrialDir(tmp_path / "a [run] with ünïcode" / "0000")
    directory.path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": [], "metric": "m"}
    write_json(directory.facts, {**facts, "maximize": True})
    return directory


@pytest.fixture
def executor() -> LocalExecutor:
    return LocalExecutor([SLOT])


@pytest.fixture(autouse=True)
def _no_process_left_behind(trial: TrialDir) -> Iterator[None]:
    yield
    for attempt in trial.attempts():
        kill_marked(attempt)


def launch(executor: LocalExecutor, trial: TrialDir, code: str, attempt: int = 1) -> AttemptDir:
    executor.launch(trial, attempt, [sys.executable, "-c", code], SLOT)
    return trial.attempt(attempt)


def ended(executor: LocalExecutor, attempt: AttemptDir) -> Exit:
    until(lambda: not executor.is_alive(attempt))
    exit_ = read_exit(attempt)
    assert exit_ is not None
    return exit_


def running(attempt: AttemptDir, word: bytes = b"ready") -> None:
    until(lambda: attempt.output.exists() and word in attempt.output.read_bytes())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", (0, None, "")),
        ("raise SystemExit(3)", (3, None, "error")),
        ("import os; os.kill(os.getpid(), 9)", (None, 9, "killed")),
        ("import os; os.kill(os.getpid(), 15)", (None, 15, "killed")),
        ("import ctypes; ctypes.string_at(0)", (None, 11, "error")),
        ("import os; os.abort()", (None, 6, "error")),
    ],
)
def test_the_end_of_a_worker_is_recorded(
    executor: LocalExecutor, trial: TrialDir, code: str, expected: tuple[int | None, int | None, str]
) -> None:
    exit_ = ended(executor, launch(executor, trial, code))
    assert (exit_.code, exit_.signal, exit_.cause) == expected
    assert exit_.peak_memory_mb > 1


def test_a_stop_before_the_worker_listens_ends_it(executor: LocalExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial, "import time; time.sleep(60)")
    until(attempt.claim.exists)
    executor.stop(attempt)
    assert ended(executor, attempt).signal == signal.SIGTERM


def test_processes_that_a_worker_leaves_end_with_it(executor: LocalExecutor, trial: TrialDir) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(child.pid)"
    )
    attempt = launch(executor, trial, code)
    assert ended(executor, attempt).code == 0
    assert not Path(f"/proc/{attempt.output.read_text().strip()}").exists()


@pytest.mark.parametrize(
    ("counter", "end", "cause"),
    [
        (("memory.events", "max 3\noom_kill 1\n"), "os.kill(os.getpid(), 9)", "oom"),
        (("memory/memory.oom_control", "under_oom 0\noom_kill 1\n"), "os.kill(os.getpid(), 9)", "oom"),
        (("memory.events", "max 3\noom_kill 0\n"), "os.kill(os.getpid(), 9)", "killed"),
        (("memory.events", "max 3\noom_kill 1\n"), "sys.exit(1)", "error"),
    ],
)
def test_a_worker_that_the_kernel_killed_for_memory_is_recognised(
    trial: TrialDir, tmp_path: Path, counter: tuple[str, str], end: str, cause: str
) -> None:
    """The counter of the kernel is faked with files in its format; the shim and the signal are real."""
    groups, (name, risen) = tmp_path / "cgroup", counter
    count = groups / name
    count.parent.mkdir(parents=True)
    count.write_text(risen.replace("1", "0"))
    worker = f"import os, pathlib, sys; pathlib.Path({str(count)!r}).write_text({risen!r}); {end}"
    shim = f"import pathlib, sys; from sweeper.worker.process import shim; shim.CGROUPS = pathlib.Path({str(groups)!r})"
    arguments = [str(trial.path), "1", sys.executable, "-c", worker]
    subprocess.run([sys.executable, "-c", f"{shim}; sys.exit(shim.main())", *arguments], check=True)
    exit_ = read_exit(trial.attempt(1))
    assert exit_ is not None
    assert exit_.cause == cause


def test_processes_that_handle_the_signal_write_their_stacks_and_others_continue(
    executor: LocalExecutor, trial: TrialDir
) -> None:
    code = (
        "import faulthandler, os, signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "faulthandler.register(signal.SIGUSR1)\n"
        "print('ready', flush=True)\n"
        "def waits_for_ever():\n    time.sleep(60)\n"
        "waits_for_ever()"
    )
    attempt = launch(executor, trial, code)
    running(attempt)
    executor.dump(attempt)
    running(attempt, b"waits_for_ever")
    LocalExecutor([SLOT]).dump(attempt)  # another orchestrator
    until(lambda: attempt.output.read_bytes().count(b"waits_for_ever") == 2)
    assert executor.is_alive(attempt)
    executor.stop(attempt)
    assert ended(executor, attempt).signal == signal.SIGTERM


def test_asking_for_stacks_does_not_end_a_command_without_a_handler(executor: LocalExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial, "import time; print('ready', flush=True); time.sleep(60)")
    running(attempt)
    executor.dump(attempt)
    executor.stop(attempt)
    assert ended(executor, attempt).signal == signal.SIGTERM


def test_a_running_attempt_is_not_started_a_second_time(executor: LocalExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial, "import time; print('ready', flush=True); time.sleep(60)")
    running(attempt)
    shim = subprocess.run(
        [sys.executable, "-m", "sweeper.worker.process.shim", str(trial.path), "1", "true"],
        capture_output=True,
        text=True,
    )
    assert shim.returncode == os.EX_TEMPFAIL
    assert "is running elsewhere" in shim.stderr
    executor.stop(attempt)
    ended(executor, attempt)


def test_a_worker_without_its_shim_is_alive_and_can_be_killed(executor: LocalExecutor, trial: TrialDir) -> None:
    attempt = launch(executor, trial, "import time; print('ready', flush=True); time.sleep(60)")
    running(attempt)
    os.kill(int(str(owner_of(attempt)["pid"])), signal.SIGKILL)
    until(lambda: executor._shims[attempt.path].poll() is not None)
    assert executor.is_alive(attempt)
    executor.kill(attempt)
    until(lambda: not executor.is_alive(attempt))
    assert read_exit(attempt) is None


def test_a_worker_without_its_shim_is_stopped_and_its_daemon_with_the_lease_is_killed(
    executor: LocalExecutor, trial: TrialDir
) -> None:
    code = (
        "import os, signal, subprocess, sys, time\n"
        "subprocess.Popen(['sleep', '60'])\n"
        "def asked(*_):\n    print('asked', flush=True)\n    sys.exit()\n"
        "if os.fork():\n"
        "    signal.signal(signal.SIGTERM, asked)\n"
        "    time.sleep(0.5)\n"
        "else:\n"
        "    os.setsid()\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    print(os.getpid(), 'ready', flush=True)\n"
        "time.sleep(60)"
    )
    attempt = launch(executor, trial, code)
    running(attempt)
    daemon = Path(f"/proc/{attempt.output.read_text().split()[0]}")
    time.sleep(0.2)  # for the handler of the worker
    os.kill(int(str(owner_of(attempt)["pid"])), signal.SIGKILL)
    until(lambda: executor._shims[attempt.path].poll() is not None)
    until(lambda: not executor.is_alive(attempt))
    assert "asked" in attempt.output.read_text()
    until(lambda: not daemon.exists())


def test_a_process_that_has_left_session_and_lease_is_killed_by_its_mark(
    executor: LocalExecutor, trial: TrialDir
) -> None:
    code = (
        "import subprocess, sys, time\n"
        "rank = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(rank.pid, 'ready', flush=True)\ntime.sleep(60)"
    )
    attempt = launch(executor, trial, code)
    running(attempt)
    rank = Path(f"/proc/{attempt.output.read_text().split()[0]}")
    os.killpg(int(str(owner_of(attempt)["pid"])), signal.SIGKILL)
    until(lambda: executor._shims[attempt.path].poll() is not None)
    until(lambda: not executor.is_alive(attempt))
    assert rank.exists()  # like a rank of torchrun: the reason why a lost attempt is killed
    executor.kill(attempt)
    until(lambda: not rank.exists())


def test_an_attempt_that_was_never_claimed_is_fenced_off(trial: TrialDir) -> None:
    attempt = trial.attempt(1)
    attempt.path.mkdir(parents=True)
    assert not LocalExecutor([SLOT]).is_alive(attempt)
    late = subprocess.run(
        [sys.executable, "-m", "sweeper.worker.process.shim", str(trial.path), "1", "true"],
        capture_output=True,
        text=True,
    )
    assert late.returncode == os.EX_TEMPFAIL


def test_no_unrelated_process_is_signalled(trial: TrialDir) -> None:
    attempt = trial.attempt(1)
    attempt.path.mkdir(parents=True)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        make_claim(attempt, {"pid": stranger.pid, "start": 1, "boot": "another", "host": "here"})
        later = LocalExecutor([SLOT])
        later.stop(attempt)
        later.kill(attempt)
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
