"""A worker that is forked from a preload process behaves like one that was started without preloading."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

import sweeper
from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.preload import ForkedShim
from sweeper.executors.slots.division import THREAD_VARIABLES
from sweeper.record.events import Exit, Metrics
from sweeper.record.facts import Facts
from sweeper.record.reader import read_exit
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir, write_json
from sweeper.worker.process import preload
from sweeper.worker.process.program import Program

PATIENCE_S = 60.0
SLOT = Slot(name="cpu 0", environment={"OMP_NUM_THREADS": "1", "MARK": "of the slot"})


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Runs:
    """Attempts of a script, with or without preloading."""

    def __init__(self, folder: Path, *, preload: bool, first: str = "print('first')", slot: Slot = SLOT) -> None:
        self.folder = folder
        self.slot = slot
        self.sweep = SweepDir(folder / "run")
        self.executor = LocalExecutor([slot], preload=preload)
        self.preload = preload
        self.count = 0
        self.forked: list[bool] = []
        if preload:  # the first attempt starts without preloading, and starts the preload process
            self.first = self.run(first)[0]
            self.wait_for_server()

    def start(self, script: str, *arguments: str, module: bool = False) -> AttemptDir:
        (self.folder / "train.py").write_text(script)
        return self.launch(*(["-m", "train"] if module else ["train.py"]), *arguments)

    def launch(self, *program: str) -> AttemptDir:
        trial = self.sweep.trial(self.count)
        self.count += 1
        trial.path.mkdir(parents=True, exist_ok=True)
        self.executor.launch(trial, 1, [sys.executable, *program], self.slot)
        self.forked.append(isinstance(self.executor._shims[trial.attempt(1).path], ForkedShim))
        return trial.attempt(1)

    def run(self, script: str, *arguments: str, module: bool = False) -> tuple[str, Exit]:
        attempt = self.start(script, *arguments, module=module)
        return self.ended(attempt)

    def wait_for_server(self) -> None:
        server = self.executor._preloaded
        assert server is not None
        until(lambda: server.is_ready or server.trouble)

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
def test_a_preloaded_script_sees_the_same_process_as_a_plain_one(runs: Runs, tmp_path: Path, module: bool) -> None:
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


def test_an_edited_script_runs_in_its_new_version(runs: Runs, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("crash", "number"),
    [
        ("import ctypes; ctypes.string_at(0)", signal.SIGSEGV),
        ("import os; os.abort()", signal.SIGABRT),
        ("import os; os.kill(os.getpid(), 9)", signal.SIGKILL),
    ],
)
def test_a_crash_affects_one_trial_only(runs: Runs, crash: str, number: signal.Signals) -> None:
    """The fixture checks that the last attempt is forked too, so the preload process has survived."""
    beside = runs.start("import time; print('up'); time.sleep(99)")
    until(lambda: beside.output.exists() and beside.output.read_text() == "up\n")
    assert runs.ended(runs.start(crash))[1].signal == number
    assert runs.run("print('after')")[0] == "after\n"
    assert runs.executor.is_alive(beside)
    runs.executor.kill(beside)
    runs.ended(beside)


def test_a_function_is_called_with_its_parameters(runs: Runs) -> None:
    (runs.folder / "job").mkdir()
    (runs.folder / "job/__init__.py").write_text("from .train import train")
    (runs.folder / "job/train.py").write_text(
        "def train(lr, trial, seed, width=8):\n    print(lr, seed, width, trial.dir.name)\n    return lr * width\n"
    )
    trial = runs.sweep.trial(runs.count)
    facts = Facts(
        number=runs.count, configuration=0, seed=7, params={"lr": 0.5}, shown={}, command=[], metric="x", maximize=True
    )
    trial.path.mkdir(parents=True)
    write_json(trial.facts, {"format": 1, **asdict(facts)})
    attempt = runs.launch("-m", "sweeper.worker.function", "job:train")
    output, exit_ = runs.ended(attempt)
    assert (output, exit_.code) == (f"0.5 7 8 {trial.path.name}\n", 0)
    values = [event.values for event in read_journal(attempt.events) if isinstance(event, Metrics)]
    assert values == [{"x": 4.0}]


def test_a_preloaded_worker_without_its_shim_is_found(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(99)")
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    shim = runs.executor._shims[attempt.path]
    os.kill(shim.pid, signal.SIGKILL)
    until(lambda: shim.poll() is not None)
    assert runs.executor.is_alive(attempt)
    runs.executor.kill(attempt)
    until(lambda: not runs.executor.is_alive(attempt))


def test_another_executor_takes_over_a_worker(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(99)")
    until(lambda: attempt.output.exists() and attempt.output.read_text() == "up\n")
    other = LocalExecutor([SLOT])
    assert other.is_alive(attempt)
    other.stop(attempt)
    assert runs.ended(attempt)[1].signal == signal.SIGTERM


def test_a_worker_continues_after_the_end_of_the_orchestrator(runs: Runs) -> None:
    attempt = runs.start("import time; print('up'); time.sleep(1); print('done')")
    runs.close()
    assert runs.ended(attempt)[0] == "up\ndone\n"


# ---- where it cannot serve -------------------------------------------------------------------------------------------


THREADS = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"
TOUCHED = "class cuda:\n    is_initialized = staticmethod(lambda: True)"
COMPUTED = "import torch\ntorch.set_num_threads(2)\ntorch.rand(1_000_000).exp()"


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Path:
    """The file of a module in a folder of installed packages, which comes first in Python's search path."""
    place = folder / "site-packages"
    place.mkdir(exist_ok=True)
    monkeypatch.setenv("PYTHONPATH", f"{place}{os.pathsep}{Path(sweeper.__file__).parents[1]}")
    (place / f"{name}.py").write_text(text)
    return place / f"{name}.py"


@pytest.mark.parametrize(
    ("name", "text", "trouble"),
    [
        ("some", THREADS, "importing some started a thread, which a fork would not have"),
        ("torch", TOUCHED, "importing torch initialized CUDA, which a fork could not use"),
        ("some", COMPUTED, "importing some started 2 threads, which a fork would not have"),
    ],
    ids=["threads", "cuda", "computed"],
)
def test_state_that_does_not_survive_a_fork_prevents_preloading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, trouble: str
) -> None:
    installed(tmp_path, monkeypatch, name, text)
    runs = Runs(tmp_path, preload=True, first=f"import {name}, os; print('hello'); os._exit(0)")
    assert runs.executor.troubles() == [f"trials are started without preloading: {trouble}"]
    assert (runs.run("print('hello')")[0], runs.forked) == ("hello\n", [False, False])
    runs.close()


def test_an_open_device_prevents_preloading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting devices opens them, although torch does not report CUDA as initialized then."""
    monkeypatch.setattr(preload, "open_files", lambda: ["/dev/null", "/dev/nvidiactl", "/dev/nvidia0"])
    monkeypatch.setattr(preload, "threads_of_this_process", lambda: 1)
    assert preload.unfit() == "opened /dev/nvidia0, and CUDA could not be used in a fork"


def test_an_edited_installed_module_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt starts without preloading; later ones are forked from a process that imported the new version."""
    module = installed(tmp_path, monkeypatch, "some", "VALUE = 1")
    script = "import some; print(some.VALUE)"
    runs = Runs(tmp_path, preload=True, first=script)
    assert (runs.run(script)[0], runs.forked[-1]) == ("1\n", True)
    module.write_text("VALUE = 'two'")
    until(lambda: runs.run(script)[0] == "two\n")
    assert not runs.forked[-1]
    runs.wait_for_server()
    assert (runs.run(script)[0], runs.forked[-1]) == ("two\n", True)
    assert runs.executor.troubles() == []
    runs.close()


COMPUTE = """
import json, os, random, numpy, threadpoolctl, torch
random_numbers = [random.random(), float(numpy.random.rand()), float(torch.rand(()))]
pools = sorted((pool["user_api"], pool["num_threads"]) for pool in threadpoolctl.threadpool_info())
w = torch.rand(300, 300, requires_grad=True)
(w @ w).exp().sum().backward()
told = {name: value for name, value in os.environ.items() if not name.startswith("SWEEPER_")}
print(json.dumps([sorted(told.items()), torch.get_num_threads(), pools, random_numbers]))
"""


def test_threads_and_environment_are_those_of_a_plain_start_and_random_numbers_are_new(tmp_path: Path) -> None:
    slot = Slot(name="cpu 0", environment=dict.fromkeys(THREAD_VARIABLES, "2"))
    runs = Runs(tmp_path, preload=True, first=COMPUTE, slot=slot)
    plain, *forked = (json.loads(text) for text in (runs.first, runs.run(COMPUTE)[0], runs.run(COMPUTE)[0]))
    assert runs.forked == [False, True, True]
    assert (plain[1], {threads for _, threads in plain[2]}) == (2, {2})
    for one in forked:
        assert set(map(tuple, one[0])) ^ set(map(tuple, plain[0])) == set()
        assert one[1:3] == plain[1:3]
    assert all(len(set(drawn)) == 3 for drawn in zip(*(one[3] for one in (plain, *forked)), strict=True))
    runs.close()


def test_a_command_that_is_not_python_starts_without_preloading(tmp_path: Path) -> None:
    executor = LocalExecutor([SLOT], preload=True)
    for number in range(2):
        trial = SweepDir(tmp_path).trial(number)
        trial.path.mkdir(parents=True)
        executor.launch(trial, 1, ["sh", "-c", "echo hello"], SLOT)
        until(trial.attempt(1).exit.exists)
        until(lambda: all(shim.poll() is not None for shim in executor._shims.values()))
        assert trial.attempt(1).output.read_text() == "hello\n"
        until(lambda: executor._preloaded and (executor._preloaded.is_ready or executor.troubles()))
    executor.close()
    assert executor.troubles() == [
        "trials are started without preloading: its command runs no Python program by this interpreter"
    ]


def test_attempts_start_without_preloading_after_the_server_was_killed(tmp_path: Path) -> None:
    runs = Runs(tmp_path, preload=True)
    assert runs.executor._preloaded is not None
    runs.executor._preloaded._server.kill()
    runs.executor._preloaded._server.wait()
    assert runs.run("print('hello')")[0] == "hello\n"
    runs.close()
    assert "preload process" in runs.executor.troubles()[0]


def test_attempts_start_without_preloading_if_the_server_does_not_respond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that continues later forks a shim for the attempt, which finds it claimed: the attempt runs once."""
    monkeypatch.setattr("sweeper.executors.preload.ANSWER_TIMEOUT_S", 0.5)
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


def test_only_the_interpreter_of_this_environment_is_preloaded(tmp_path: Path) -> None:
    """Interpreters of several environments are links to one file; their packages differ."""
    (tmp_path / "python").symlink_to(os.path.realpath(sys.executable))
    assert Program.of([str(tmp_path / "python"), "train.py"]) is None
    assert Program.of([sys.executable, "-u", "train.py", "x"]) == Program("train.py", ("x",))
    assert Program.of([sys.executable, "-O", "train.py"]) is None


def test_the_end_of_a_shim_is_noticed_with_any_descriptor_number() -> None:
    """Each of a thousand shims has a descriptor, and select(2) accepts none above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2048, hard)), hard))
    try:
        with subprocess.Popen(["sleep", "60"]) as process:
            low = os.pidfd_open(process.pid)
            forked = ForkedShim(process.pid, fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1030))
            os.close(low)
            assert forked.poll() is None
            forked.send_signal(signal.SIGTERM)
            until(lambda: forked.poll() == 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
