"""A worker that is forked from a preloaded process: to its script, and to who started it, as one started plainly."""

from __future__ import annotations

import json
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
from sweeper.executors.preload import Forked
from sweeper.record.events import Exit
from sweeper.record.layout import AttemptDir, SweepDir
from sweeper.record.trial import read_exit

PATIENCE_S = 60.0
SLOT = Slot(name="cpu 0", environment={"OMP_NUM_THREADS": "1", "MARK": "of the slot"})


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Runs:
    """Attempts of a script, plainly started or forked."""

    def __init__(self, folder: Path, *, preload: bool) -> None:
        self.folder = folder
        self.sweep = SweepDir(folder / "run")
        self.executor = LocalExecutor([SLOT], preload=preload)
        self.preload = preload
        self.count = 0
        self.forked: list[bool] = []
        if preload:  # the first attempt is started plainly, and has the server started
            self.run("print('first')")
            assert self.executor._preloaded is not None
            until(lambda: self.executor._preloaded and (self.executor._preloaded.serves or self.executor.troubles()))

    def start(self, script: str, *arguments: str, module: bool = False) -> AttemptDir:
        (self.folder / "train.py").write_text(script)
        trial = self.sweep.trial(self.count)
        self.count += 1
        trial.path.mkdir(parents=True)
        program = ["-m", "train"] if module else ["train.py"]
        self.executor.launch(trial, 1, [sys.executable, *program, *arguments], SLOT)
        self.forked.append(isinstance(self.executor._shims[trial.attempt(1).path], Forked))
        return trial.attempt(1)

    def run(self, script: str, *arguments: str, module: bool = False) -> tuple[str, Exit]:
        attempt = self.start(script, *arguments, module=module)
        return self.ended(attempt)

    def ended(self, attempt: AttemptDir) -> tuple[str, Exit]:
        until(lambda: attempt.exit.exists() and not self.executor.is_alive(attempt))
        exit_ = read_exit(attempt)
        assert exit_ is not None
        return attempt.output.read_text(), exit_

    def close(self) -> None:
        self.executor.close()


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["spawn", "preload"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path, preload=request.param == "preload")
    yield runs
    assert all(forked == runs.preload for forked in runs.forked[1:])
    runs.close()


LOOK = """
import json, os, random, sys, threading
print(json.dumps({
    "argv": sys.argv, "name": __name__, "file": __file__, "main": sys.modules["__main__"].__dict__ is globals(),
    "path": sys.path[0], "cwd": os.getcwd(), "mark": os.environ["MARK"], "threads": threading.active_count(),
    "trial": os.environ["SWEEPER_TRIAL_DIR"], "session": os.getsid(0) == os.getppid(), "stdin": sys.stdin.read(),
    "fds": sorted(os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2] for fd in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{fd}")),
    "pending": __import__("signal").pthread_sigmask(0, []) == set(), "random": random.random(),
}))
"""


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_what_a_script_sees_of_its_process(runs: Runs, tmp_path: Path, module: bool) -> None:
    output, exit_ = runs.run(LOOK, "--lr=1e-3", "x y", module=module)
    seen = json.loads(output)
    assert seen["argv"][1:] == ["--lr=1e-3", "x y"]
    assert (seen["name"], seen["main"], seen["mark"], seen["threads"]) == ("__main__", True, "of the slot", 1)
    assert Path(seen["file"]).resolve() == tmp_path / "train.py"
    assert (Path(seen["path"]).resolve(), Path(seen["cwd"])) == (tmp_path, tmp_path)
    assert (seen["session"], seen["stdin"], seen["pending"]) == (True, "", True)
    assert seen["fds"] == ["lease", "null", "output.log", "output.log"]
    assert Path(seen["trial"]).name == f"{runs.count - 1:04d}"
    assert (exit_.code, exit_.cause) == (0, "")
    assert json.loads(runs.run(LOOK)[0])["random"] != seen["random"]


TRACEBACK = """Traceback (most recent call last):
  File "{0}", line 3, in <module>
    f()
  File "{0}", line 2, in f
    raise ValueError('no')
ValueError: no
"""


@pytest.mark.parametrize(
    ("script", "code", "output"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("import os; os._exit(5)", 5, ""),
        ("import atexit; atexit.register(print, 'bye'); print('hello')", 0, "hello\nbye\n"),
        (
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
            0,
            "late\n",
        ),
        (
            "def f():\n    raise ValueError('no')\nf()",
            1,
            TRACEBACK,
        ),
        ("f = open('kept', 'w'); f.write('x' * 9); cycle = [f]; cycle.append(cycle)", 0, ""),
        ("import sys; sys.exit(-1)", 255, ""),
        ("class A:\n    def __del__(self):\n        print('gone')\na = A()", 0, "gone\n"),
        ("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", 0, "A\n"),
    ],
)
def test_ends_and_output(runs: Runs, tmp_path: Path, script: str, code: int, output: str) -> None:
    found, exit_ = runs.run(script)
    assert found in {output.format("train.py"), output.format(tmp_path / "train.py")}
    assert (exit_.code, exit_.signal) == (code, None)
    assert "kept" not in script or (tmp_path / "kept").read_text() == "x" * 9


def test_a_syntax_error_is_shown(runs: Runs) -> None:
    output, exit_ = runs.run("x = (\n")
    assert "SyntaxError" in output
    assert "preload" not in output
    assert exit_.code == 1


def test_a_script_that_is_edited_is_run_as_it_is_now(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 1")
    assert runs.run("import beside; print(beside.VALUE)")[0] == "1\n"
    (tmp_path / "beside.py").write_text("VALUE = 'two'")
    assert runs.run("import beside; print(beside.VALUE, 'edited')")[0] == "two edited\n"


def test_a_stop_reaches_the_script_and_a_kill_its_descendants(runs: Runs) -> None:
    script = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('up')\ntime.sleep(99)"
    )
    attempt = runs.start(script)
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    runs.executor.stop(attempt)
    assert runs.ended(attempt)[1].code == 7

    grandchild = "import subprocess\nsubprocess.Popen(['sleep', '99'], start_new_session=True)\n"
    script = grandchild + "import time\nprint('up')\ntime.sleep(99)"
    attempt = runs.start(script)
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    runs.executor.kill(attempt)
    assert runs.ended(attempt)[1].signal == signal.SIGKILL


def test_a_stop_before_the_first_line_ends_it(runs: Runs) -> None:
    for _ in range(10):
        attempt = runs.start("import time; time.sleep(99)")
        until(attempt.claim.exists)
        runs.executor.stop(attempt)
        assert runs.ended(attempt)[1].signal == signal.SIGTERM


def test_a_worker_whose_shim_was_killed_is_found(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(99)")
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    shim = runs.executor._shims[attempt.path]
    os.kill(shim.pid, signal.SIGKILL)
    until(lambda: shim.poll() is not None)
    assert runs.executor.is_alive(attempt)
    runs.executor.kill(attempt)
    until(lambda: not runs.executor.is_alive(attempt))


def test_another_executor_takes_a_worker_over(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(99)")
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    other = LocalExecutor([SLOT])
    assert other.is_alive(attempt)
    other.stop(attempt)
    assert runs.ended(attempt)[1].signal == signal.SIGTERM


def test_the_end_of_the_orchestrator_leaves_the_worker(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(1); print('done')")
    runs.close()
    assert runs.ended(attempt)[0] == "up\ndone\n"


# ---- where it cannot serve -------------------------------------------------------------------------------------------


def test_a_package_that_starts_threads_is_a_reason_to_start_plainly(tmp_path: Path) -> None:
    """In a process of its own: this one may have threads already."""
    (tmp_path / "with_threads.py").write_text(
        "import threading\nstop = threading.Event()\nthreading.Thread(target=stop.wait, daemon=True).start()"
    )
    code = """
import sys
sys.path.insert(0, ".")
from sweeper.worker import preload
preload._is_installed = lambda _: True
print(preload.preload(["json", "with_threads"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "importing with_threads started 1 threads, which a fork would not have\n"


def test_a_command_that_is_no_python_program_is_started_plainly(tmp_path: Path) -> None:
    executor = LocalExecutor([SLOT], preload=True)
    for number in range(2):
        trial = SweepDir(tmp_path).trial(number)
        trial.path.mkdir(parents=True)
        executor.launch(trial, 1, ["sh", "-c", "echo hello"], SLOT)
        until(trial.attempt(1).exit.exists)
        until(lambda: all(shim.poll() is not None for shim in executor._shims.values()))
        assert trial.attempt(1).output.read_text() == "hello\n"
        until(lambda: executor._preloaded and (executor._preloaded.serves or executor.troubles()))
    executor.close()
    assert executor.troubles() == [
        "trials are started plainly, not preloaded: its command runs no Python program by this interpreter"
    ]


def test_where_the_server_was_killed_attempts_are_started_plainly(tmp_path: Path) -> None:
    runs = Runs(tmp_path, preload=True)
    assert runs.executor._preloaded is not None
    runs.executor._preloaded._server.kill()
    runs.executor._preloaded._server.wait()
    assert runs.run("print('hello')")[0] == "hello\n"
    runs.close()
    assert "preloaded process" in runs.executor.troubles()[0]


def test_where_the_server_does_not_answer_attempts_are_started_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that wakes up again forks a shim for the attempt, which finds it claimed: it has run once."""
    monkeypatch.setattr("sweeper.executors.preload.ANSWERS_WITHIN_S", 0.5)
    runs = Runs(tmp_path, preload=True)
    assert runs.executor._preloaded is not None
    server = runs.executor._preloaded._server
    server.send_signal(signal.SIGSTOP)
    assert runs.run("print('hello')")[0] == "hello\n"
    assert "timed out" in runs.executor.troubles()[0]
    server.send_signal(signal.SIGCONT)
    runs.close()
    output = runs.sweep.trial(1).attempt(1).output
    until(lambda: "an attempt runs once" in output.read_text())
    assert output.read_text().count("hello") == 1


def test_what_a_script_imports(tmp_path: Path) -> None:
    from sweeper.worker.preload import imported_by

    script = "import a.b, c as d\nfrom e import f\nfrom . import g\ndef h():\n    import i\n"
    (tmp_path / "script.py").write_text(script)
    assert imported_by(tmp_path / "script.py") == ["a.b", "c", "e", "e:f", "i"]
    (tmp_path / "script.py").write_text("import (")
    assert imported_by(tmp_path / "script.py") == []
