"""How shims start: their slots and signals, what they import, and what the command inherits.

`tests/faults/test_launches.py` tries every point of a launch; this is a sample of it.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.executors.python import run_module
from sweeper.executors.slots.ledger import is_live
from sweeper.record.reader import read_exit
from sweeper.record.signals import ANSWERED, blocked
from sweeper.record.storage import confined
from sweeper.record.storage.layout import AttemptDir
from tests.faults.launches import SCRIPT, TABLES, Launches, environment, problems, until, usual_signals

SAMPLE = {
    "spawn": ("the interpreter of the shim starts", "before the claim", "the worker trains, to the shim"),
    "preload": ("after the fork of the shim", "before the claim", "after the fork of the worker, to the shim"),
}
SHADOWED = ("signal", "select", "token", "json", "socket", "subprocess", "ctypes", "sweeper")
"""Modules of Python's own, and sweeper, under names that a user's directory may have."""


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Launches]]:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    made: list[Launches] = []

    def of(launch: str, script: str = SCRIPT) -> Launches:
        made.append(Launches(tmp_path, launch, script))
        return made[-1]

    with usual_signals():
        yield of
    for one in made:
        one.close()


@pytest.mark.parametrize("launch", TABLES)
def test_a_signal_during_a_launch_costs_at_most_the_attempt(launches: Callable[..., Launches], launch: str) -> None:
    site = launches(launch)
    for name in SAMPLE[launch]:
        for number in (signal.SIGKILL, signal.SIGTERM):
            assert list(problems(site, TABLES[launch][name], number)) == [], (name, number)
    site.undisturbed()


def test_a_shim_that_dies_where_nothing_can_be_written_gives_its_slot_back(
    launches: Callable[..., Launches], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = launches("spawn")
    attempt = site.start(POINT="shim start", POINT_SIGNAL="9", POINT_MARK=str(site.folder / "mark"))
    opened = confined.open_file

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "claim":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(confined, "open_file", full)
    site.wait(attempt)
    assert not attempt.claim.exists()
    assert site.ledger.claims() == ()
    site.undisturbed()


def test_another_sweep_sees_that_a_shim_died_before_its_claim(launches: Callable[..., Launches]) -> None:
    site = launches("spawn")
    attempt = site.start(POINT="shim open /claim", POINT_SIGNAL="9", POINT_MARK=str(site.folder / "mark"))
    [claim] = site.ledger.claims()
    site.wait(attempt)
    assert not is_live(claim)


@pytest.mark.parametrize("launch", TABLES)
def test_a_shim_imports_nothing_from_the_current_directory(
    launches: Callable[..., Launches], tmp_path: Path, launch: str
) -> None:
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(f"open('{name}-was-imported', 'w')\nraise SystemExit('shadowed')\n")
    site = launches(launch, "print('first')")
    (tmp_path / "helper.py").write_text("print('helped')\n")
    (tmp_path / "train.py").write_text("import helper, sys; print(sys.path[0])\n")
    attempt = site.start()
    site.wait(attempt)
    assert attempt.output.read_text() == f"helped\n{tmp_path}\n"
    assert list(tmp_path.glob("*-was-imported")) == []


def test_sweeper_is_found_where_only_the_current_directory_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "-P" in run_module("x")
    monkeypatch.chdir(Path(__file__).parents[2])
    assert "-P" not in run_module("x")
    (tmp_path / "deleted").mkdir()
    monkeypatch.chdir(tmp_path / "deleted")
    (tmp_path / "deleted").rmdir()
    assert "-P" in run_module("x")


LOOK = """
import re
status = open("/proc/self/status").read()
print(re.findall("Sig(?:Blk|Ign|Cgt):.*", status))
"""


@pytest.mark.parametrize("ignored", [[], [signal.SIGHUP], [signal.SIGINT, signal.SIGHUP]], ids=str)
@pytest.mark.parametrize("launch", TABLES)
def test_the_command_has_the_mask_and_the_dispositions_that_it_would_have_by_itself(
    launches: Callable[..., Launches], tmp_path: Path, launch: str, ignored: list[int]
) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        site = launches(launch, "print('first')")
        (tmp_path / "train.py").write_text(LOOK)
        attempt = site.start()
        site.wait(attempt)
        alone = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True, check=True).stdout
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert attempt.output.read_text() == alone


@pytest.mark.parametrize("number", ANSWERED, ids=lambda number: number.name)
@pytest.mark.parametrize("launch", TABLES)
def test_a_shim_answers_each_of_its_signals_while_the_worker_runs(
    launches: Callable[..., Launches], tmp_path: Path, launch: str, number: signal.Signals
) -> None:
    site = launches(launch, "print('first')")
    (tmp_path / "train.py").write_text(
        "import time; open('ready', 'w'); time.sleep(60 if WAITS else 0.2)".replace(
            "WAITS", str(number != signal.SIGUSR1)
        )
    )
    attempt = site.start()
    until((tmp_path / "ready").exists)
    os.kill(_shim(site, attempt), number)
    site.wait(attempt)
    ended = read_exit(attempt)
    assert ended is not None
    expected = {signal.SIGQUIT: signal.SIGKILL, signal.SIGUSR1: None}.get(number, signal.SIGTERM)
    assert (ended.signal, attempt.output.read_text()) == (expected, "")


def _shim(site: Launches, attempt: AttemptDir) -> int:
    return site.executor._shims[attempt.path].pid


def test_signals_that_arrive_while_they_are_blocked_are_handled_afterwards() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: seen.append(number))
    try:
        with blocked([signal.SIGHUP]):
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)
            assert seen == []
        assert seen == [signal.SIGHUP]
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGHUP, before)
