"""The views process of a sweep: signals end it without a traceback, and it is started again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper.config.model.sweep import FigureSettings
from sweeper.orchestrator.io.views_process import RESTARTS, ViewsProcess
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import is_held

PATIENCE_S = 60.0
ENDING = [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]
EARLY = [
    *((signal.SIGINT, module) for module in ("nothing", "argparse", "sweeper.views.figures.trial_figures")),
    *((number, "argparse") for number in (signal.SIGTERM, signal.SIGHUP)),
]
"""Signals while the process imports a module, or before its first import."""

HOOK = """
import os, signal, sys
from pathlib import Path

def hook(event, arguments):
    if event == "import" and arguments[0] == os.environ["AT_IMPORT_OF"] and not Path("signalled").exists():
        Path("signalled").touch()
        os.kill(os.getpid(), int(os.environ["WITH"]))

if "sweeper.views.tensorboard" in sys.orig_argv:
    if os.environ["AT_IMPORT_OF"] == "nothing" and not Path("signalled").exists():  # while the interpreter starts
        Path("signalled").touch()
        os.kill(os.getpid(), int(os.environ["WITH"]))
    sys.addaudithook(hook)
"""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Views:
    def __init__(self, folder: Path) -> None:
        self.run = SweepDir(folder)
        self.said: list[str] = []
        self.process = ViewsProcess(self.run, FigureSettings(), self.said.append)

    @property
    def pid(self) -> int:
        return self.process._process.pid

    def works(self) -> bool:
        """Whether the process draws; restarts it as the sweep's loop does."""
        self.process.keep_running()
        return is_held(self.run.views_lease)

    def killed(self, number: int) -> None:
        """Signal the process, and wait for its end."""
        os.kill(self.pid, number)
        until(lambda: self.process._process.poll() is not None)

    def log(self) -> str:
        return self.run.views_log.read_text()


@pytest.fixture
def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Views]]:
    monkeypatch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)
    made: list[Views] = []

    def of() -> Views:
        made.append(Views(tmp_path))
        return made[-1]

    yield of
    for one in made:
        one.process.finish()
        until(one.process.ended)


@pytest.mark.parametrize(("number", "module"), EARLY)
def test_a_signal_while_the_process_imports_leaves_no_traceback(
    views: Callable[[], Views], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, module: str
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hook'}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("AT_IMPORT_OF", module)
    monkeypatch.setenv("WITH", str(int(number)))
    one = views()
    until((tmp_path / "signalled").exists)
    until(one.works)
    if number != signal.SIGINT:  # which is ignored
        until(lambda: one.works() and one.said)
    assert one.log() == ""


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_an_end_that_was_not_asked_for_is_said_once_and_the_process_started_again(
    views: Callable[[], Views], number: signal.Signals
) -> None:
    one = views()
    for _ in range(2):
        until(one.works)
        one.killed(number)
        until(one.works)
    assert one.said == [f"The process that writes the TensorBoard files ended ({number.name}) and is started again"]
    assert one.log() == ""
    one.process.finish()
    until(one.process.ended)
    assert one.process.code == 0


def test_ends_beyond_all_restarts_leave_the_files_incomplete(views: Callable[[], Views]) -> None:
    one = views()
    for _ in range(RESTARTS + 1):
        until(one.works)
        one.killed(signal.SIGTERM)
    one.process.keep_running()
    one.process.finish()
    assert one.process.ended()
    assert one.process.code
