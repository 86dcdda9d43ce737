"""How a trial is opened and ended: with a block, without one, and in processes that a script starts."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sweeper
from sweeper.errors import UsageError
from sweeper.record.events import Event, Exit, Finished, Metrics, Started
from sweeper.record.reader import read_trial
from sweeper.record.storage.codec import decode
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, write_json
from sweeper.record.trial import State
from sweeper.worker import opening
from sweeper.worker.watch.outbox import Outbox

ROOT = Path(sweeper.__file__).parents[1]


def run(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a training script by itself."""
    script = folder / "train.py"
    script.write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SWEEPER_")}
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def attempt(folder: Path) -> AttemptDir:
    """The only attempt of the only run that a script without a sweep has left."""
    (made,) = (folder / "runs").iterdir()
    return SweepDir(made).trial(0).attempt(1)


def events(where: AttemptDir, kind: type[Event]) -> list[Any]:
    return [event for event in read_journal(where.events) if isinstance(event, kind)]


def end(folder: Path) -> tuple[str, str, int | None]:
    """The outcome, the error and the exit code, each of which must have been recorded exactly once."""
    where = attempt(folder)
    (finished,) = events(where, Finished)
    exit_ = decode(where.exit.read_bytes())
    assert isinstance(exit_, Exit)
    return finished.outcome, finished.error, exit_.code


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialDir:
    trial = TrialDir(tmp_path / "0000")
    trial.attempt(1).path.mkdir(parents=True)
    facts = {"number": 0, "configuration": 0, "seed": 7, "params": {"lr": 0.5}, "shown": {}, "command": []}
    write_json(trial.facts, {**facts, "metric": "acc", "maximize": True, "checkpoint_every_s": 3600.0})
    monkeypatch.setenv("SWEEPER_TRIAL_DIR", str(trial.path))
    monkeypatch.setenv("SWEEPER_ATTEMPT", "1")
    return trial


OPENED = {
    "start": "trial = sweeper.start({'lr': 1})",
    "enter": "trial = sweeper.trial({'lr': 1}).__enter__()",
    "stack": "import contextlib; stack = contextlib.ExitStack(); trial = stack.enter_context(sweeper.trial({'lr': 1}))",
    "generator": """
def opened():
    with sweeper.trial({'lr': 1}) as trial:
        yield trial
trial = next(opened())  # the generator is abandoned at once""",
}
ENDS = {
    "the end": ("", ("completed", "", 0)),
    "exception": ("raise ValueError('too hot')", ("failed", "ValueError: too hot", 1)),
    "exit 0": ("sys.exit(0)", ("completed", "", 0)),
    "exit 3": ("sys.exit(3)", ("failed", "SystemExit: 3", 3)),
    "exit text": ("sys.exit('no data')", ("failed", "SystemExit: no data", 1)),
    "exit 3 for an exception": (
        "try: raise ValueError('too hot')\nexcept ValueError: sys.exit(3)",
        ("failed", "ValueError: too hot", 3),
    ),
    "exit text for an exception": (
        "try: raise ValueError\nexcept ValueError: sys.exit('no data')",
        ("failed", "SystemExit: no data", 1),
    ),
    "interrupt": ("raise KeyboardInterrupt", ("stopped", "", 1)),
    "caught exit": ("try: sys.exit(3)\nexcept SystemExit: pass", ("completed", "", 0)),
    "caught exception": ("try: raise ValueError\nexcept ValueError: pass", ("completed", "", 0)),
    "exit of a thread": ("t = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()", ("completed", "", 0)),
    "exception, then exit of a thread": (
        "end = lambda: (threading.main_thread().join(), sys.exit(3))\nthreading.Thread(target=end).start(); 1 / 0",
        ("failed", "ZeroDivisionError: division by zero", 1),
    ),
    "stop": ("trial.plan(total_steps=9); os.kill(os.getpid(), 15); assert trial.should_stop", ("stopped", "", 0)),
    "finish": ("trial.finish(); trial.finish()", ("completed", "", 0)),
}


@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("how", ENDS)
def test_a_trial_without_a_block_ends_as_its_process_does(tmp_path: Path, opened: str, how: str) -> None:
    last, expected = ENDS[how]
    head = "import os, sys, threading\nimport sweeper\n"
    run(tmp_path, f"{head}{OPENED[opened]}\ntrial.report({{'loss': 1.0}}, step=0)\n{last}\n")
    assert end(tmp_path) == expected
    assert [event.values for event in events(attempt(tmp_path), Metrics)] == [{"loss": 1.0}]
    assert read_trial(TrialDir(attempt(tmp_path).path.parents[1])).facts.params == {"lr": 1}


def test_a_block_that_exits_has_the_exit_code_of_the_process(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys, sweeper\nwith sweeper.trial():\n    sys.exit(3)\n")
    assert done.returncode == 3
    assert end(tmp_path) == ("failed", "SystemExit: 3", 3)


def test_a_block_that_exits_for_an_exception_has_the_exception(directory: TrialDir) -> None:
    def main() -> None:
        try:
            float("hot")
        except ValueError:
            sys.exit(1)

    with pytest.raises(SystemExit), sweeper.trial():
        main()
    (finished,) = events(directory.attempt(1), Finished)
    assert finished.error == "ValueError: could not convert string to float: 'hot'"


def test_the_scripts_own_hook_still_prints_the_exception(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        "import sys, sweeper\n"
        "sys.excepthook = lambda kind, error, trace: print('mine:', error)\n"
        "sweeper.start()\n"
        "raise ValueError('too hot')\n",
    )
    assert (done.returncode, done.stdout) == (1, "mine: too hot\n")
    assert end(tmp_path)[1] == "ValueError: too hot"


def test_an_interactive_session_goes_on_after_an_exception(tmp_path: Path) -> None:
    text = "import sweeper\ntrial = sweeper.start()\n1 / 0\ntrial.report({'loss': 1.0}, step=0)\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-i"], input=text, text=True, cwd=tmp_path, env=environment, check=True)
    assert end(tmp_path) == ("completed", "", 0)
    assert len(events(attempt(tmp_path), Metrics)) == 1


def test_the_ends_of_two_trials_of_one_process_are_their_own(tmp_path: Path) -> None:
    run(
        tmp_path,
        "import sweeper\n"
        "first = sweeper.start({'lr': 1})\n"
        "first.finish()\n"
        "assert sweeper.start({'lr': 2}) is not first\n"
        "raise ValueError\n",
    )
    states = [read_trial(SweepDir(run).trial(0)).state for run in sorted((tmp_path / "runs").iterdir())]
    assert states == [State.COMPLETE, State.FAIL]


CHILDREN = {
    "fork": "pid = os.fork()\nif not pid: sys.exit(1)\nos.waitpid(pid, 0)",
    "fork with an exception": "pid = os.fork()\nif not pid: raise ValueError\nos.waitpid(pid, 0)",
    "fork that reports": "pid = os.fork()\nif not pid:\n  trial.report({}, step=0); sys.exit()\nos.waitpid(pid, 0)",
    "multiprocessing": "process = mp.get_context('fork').Process(target=sys.exit)\nprocess.start(); process.join()",
    "spawn": "if __name__ == '__main__':\n  process = mp.get_context('spawn').Process(target=print)\n"
    "  process.start(); process.join()\n  assert not process.exitcode",
}


@pytest.mark.parametrize("child", CHILDREN)
def test_a_child_does_not_end_the_trial_of_its_parent(tmp_path: Path, child: str) -> None:
    head = "import multiprocessing as mp, os, sys\nimport sweeper\ntrial = sweeper.start()\n"
    done = run(tmp_path, f"{head}{CHILDREN[child]}\ntrial.report({{'loss': 1.0}}, step=1)\n")
    assert done.returncode == 0, done.stderr
    assert end(tmp_path) == ("completed", "", 0)
    assert len(events(attempt(tmp_path), Started)) == 1
    assert type(list(read_journal(attempt(tmp_path).events))[-1]) is Finished


def test_a_block_around_a_fork_is_ended_by_the_parent(tmp_path: Path) -> None:
    body = "    pid = os.fork()\n    if pid: os.waitpid(pid, 0)\n    else: raise ValueError\n"
    run(tmp_path, f"import os, sweeper\nwith sweeper.trial():\n{body}")
    assert end(tmp_path) == ("completed", "", 0)


def test_a_spawned_child_adds_to_the_record_of_its_parent_which_can_terminate_it(tmp_path: Path) -> None:
    run(
        tmp_path,
        "import multiprocessing as mp, signal\n"
        "import sweeper\n"
        "trial = sweeper.start()\n"
        "def train(): trial.report({'ends': signal.getsignal(signal.SIGTERM) is signal.SIG_DFL}, step=0)\n"
        "if __name__ == '__main__':\n"
        "    process = mp.get_context('spawn').Process(target=train)\n"
        "    process.start(); process.join()\n",
    )
    assert [event.values for event in events(attempt(tmp_path), Metrics)] == [{"ends": 1.0}]


def test_a_program_that_a_trial_runs_in_a_sweep_does_not_end_it(directory: TrialDir, tmp_path: Path) -> None:
    with sweeper.trial():
        environment = {name: os.environ[name] for name in os.environ if name.startswith("SWEEPER_")}
        run(tmp_path, "import sweeper\nwith sweeper.trial() as t: t.report({'acc': 0.5}, step=0)\n", **environment)
        assert events(directory.attempt(1), Finished) == []
    assert len(events(directory.attempt(1), Started)) == 1
    assert len(events(directory.attempt(1), Metrics)) == 1


def test_a_program_that_a_trial_without_a_sweep_runs_is_a_run_of_its_own(tmp_path: Path) -> None:
    inner = "import sweeper; sweeper.start()"
    run(
        tmp_path,
        f"import subprocess, sys, sweeper\nsweeper.start()\nsubprocess.run([sys.executable, '-c', {inner!r}])\n",
    )
    assert len(list((tmp_path / "runs").iterdir())) == 2


# ---- in one process --------------------------------------------------------------------------------------------------


def test_start_returns_the_open_trial(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        assert sweeper.start({"width": 3}) is trial
        assert trial.params == {"width": 3, "lr": 0.5}
    assert len(events(directory.attempt(1), Finished)) == 1


def test_a_block_within_a_started_trial_does_not_end_it(directory: TrialDir) -> None:
    trial = sweeper.start()
    with sweeper.trial() as same:
        assert same is trial
    trial.report({"acc": 0.5}, step=0)
    trial.finish()
    assert [type(event) for event in read_journal(directory.attempt(1).events)] == [Started, Metrics, Finished]


def test_hooks_of_the_process_are_put_back(directory: TrialDir) -> None:
    before = sys.excepthook, sys.exit, dict(os.environ)
    with sweeper.trial():
        assert sys.excepthook is not before[0]
    assert (sys.excepthook, sys.exit, dict(os.environ)) == before


def test_a_context_manager_decorates_a_function(directory: TrialDir) -> None:
    @sweeper.trial()
    def train() -> None:
        sweeper.start().report({"acc": 0.5}, step=0)

    train()
    assert len(events(directory.attempt(1), Finished)) == 1


@pytest.mark.parametrize("name", ["report", "params", "seed", "dir", "should_stop", "watch", "finish"])
def test_a_trial_without_its_block_says_what_to_write(name: str) -> None:
    trial: Any = sweeper.trial()
    with pytest.raises(
        UsageError, match=rf"^trial.{name}: .* `with sweeper.trial\(\) as trial:` .* `trial = sweeper.st"
    ):
        getattr(trial, name)
    with pytest.raises(UsageError, match="the trial is not open"):
        setattr(trial, name, 1)
    assert not hasattr(trial, name)


def test_a_trial_without_its_block_can_be_looked_at() -> None:
    trial = sweeper.trial()
    assert not hasattr(trial, "other")
    assert dict(inspect.getmembers(trial))["__class__"] is opening.TrialContext
    assert "TrialContext" in repr(trial)


def test_a_traceback_shows_the_sentence_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "import sweeper\ntrial = sweeper.trial()\ntrial.report({}, step=0)\n")
    assert done.stderr.splitlines()[-1].endswith("or open it with `trial = sweeper.start()`")
    assert not (tmp_path / "runs").exists()


def test_a_report_after_the_end_says_so(directory: TrialDir) -> None:
    with sweeper.trial() as trial:
        pass
    with pytest.raises(UsageError, match="this trial has ended, so nothing more can be recorded: indent the code"):
        trial.report({"acc": 0.5}, step=0)


def test_a_failed_device_does_not_hide_why_the_script_ended(
    directory: TrialDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(Outbox, "flush", lambda _: flush())
    with pytest.raises(ValueError, match="too hot"), sweeper.trial():
        raise ValueError("too hot")
    assert events(directory.attempt(1), Finished)[0].error == "ValueError: too hot"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[sweeper.Trial | None]:
    """The open trial each time that the script is about to open one."""
    seen: list[sweeper.Trial | None] = []
    monkeypatch.setattr(opening, "_CALLBACKS", [])
    opening.on_explicit_open(lambda: seen.append(opening.current()))
    return seen


def test_a_block_takes_over_the_trial_that_sweeper_opened(
    directory: TrialDir, told: list[sweeper.Trial | None]
) -> None:
    trial = opening.open_implicitly(directory, directory.attempt(1), writes=True)
    assert opening.open_implicitly(directory, directory.attempt(1), writes=True) is trial
    assert told == []
    with sweeper.trial({"width": 3}) as same:
        assert same is trial
        assert trial.params == {"width": 3, "lr": 0.5}
    assert told == [trial]
    assert opening.current() is None
    assert len(events(directory.attempt(1), Finished)) == 1


def test_start_is_an_explicit_opening(directory: TrialDir, told: list[sweeper.Trial | None]) -> None:
    trial = sweeper.start()
    with sweeper.trial():
        pass
    assert told == [None, trial]
    trial.finish()
