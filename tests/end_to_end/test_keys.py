"""The keys of the live table, and `status --watch`, in a real terminal under a real shell."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.record.storage.lease import holder_of, is_held
from tests.end_to_end.test_steering import RUN, STILL, control, seen, states, steps, sweep_of
from tests.end_to_end.test_sweeps import ROOT, until
from tests.terminal import Terminal

DOWN = "\x1b[B"
SWEEPER = f"{sys.executable} -m sweeper.cli"
QUIET = "icanon", "echo"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, env={"PYTHONPATH": str(ROOT)}) as terminal:
        terminal.wait_for("$ ")
        yield terminal


def test_keys_show_and_stop_a_trial(tmp_path: Path, terminal: Terminal) -> None:
    sweep = sweep_of(tmp_path, 1, 2, script=STILL.replace("time.sleep(trial", "print('a line'); time.sleep(trial"))
    terminal.type(f"{SWEEPER} run sweep.yaml --workers 1\n")
    terminal.wait_for("keys: up/down select a trial")
    terminal.type("x")  # nothing is chosen, so nothing is asked
    until(lambda: b'"step":4,' in steps(sweep, 0))
    terminal.type(DOWN)
    terminal.wait_for("keys: up/down  enter why  o output  x stop  p pause  s revive  esc back")
    at = len(terminal.look())
    terminal.type("\r")
    terminal.wait_for("attempt 1 on cpu 0: running", since=at)
    terminal.type("o")
    at = terminal.wait_for("attempts/1/output.log", since=at)
    terminal.wait_for("a line", since=at)
    terminal.type("x")
    at = terminal.wait_for("stop trial 0000 for good? y: yes, any other key: no", since=at)
    terminal.type("n")
    terminal.wait_for("keys: up/down other trials", since=at)
    assert "StopRequested" not in control(sweep, 0)
    terminal.type("s")
    until(lambda: "Revived" in control(sweep, 0))
    terminal.type("xy")
    until(lambda: "StopRequested" in control(sweep, 0))
    (tmp_path / "go").touch()
    terminal.wait_for("$ ", since=at)
    assert states(sweep) == ["PRUNED", "COMPLETE"]
    assert seen(sweep)["trials"][0]["pruned"]["rule"] == "a person"
    assert terminal.shown.rstrip("$ ").rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")  # the cursor is back
    assert set(QUIET) <= terminal.modes()


def test_ctrl_z_releases_the_terminal_and_fg_takes_it_again(tmp_path: Path, terminal: Terminal) -> None:
    sweep = sweep_of(tmp_path, 1, 2, script=STILL)
    terminal.type(f"{SWEEPER} run sweep.yaml --workers 1\n")
    at = terminal.wait_for("keys: up/down select a trial")
    terminal.type("\x1a")
    terminal.wait_for("Stopped", since=at)
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l")
    assert set(QUIET) <= terminal.modes()
    until(lambda: b'"step":4,' in steps(sweep, 0))  # trials run on
    at = len(terminal.look())
    terminal.type("fg\n")
    at = terminal.wait_for("keys: up/down select a trial", since=at)
    terminal.type(DOWN)
    at = terminal.wait_for("esc back", since=at)
    terminal.type("p")
    until(lambda: "Paused" in control(sweep, 0))
    (tmp_path / "go").touch()
    until(lambda: states(sweep)[0] == "PAUSED")
    terminal.type("\x03")
    terminal.wait_for("Interrupted.", since=at)
    assert set(QUIET) <= terminal.modes()
    assert not is_held(tmp_path / RUN / "lease")


def test_in_the_background_no_key_is_read_and_the_sweep_continues(tmp_path: Path, terminal: Terminal) -> None:
    sweep = sweep_of(tmp_path, 1, 2, script=STILL)
    terminal.type(f"{SWEEPER} run sweep.yaml --workers 1 &\n")
    until(lambda: b'"step":4,' in steps(sweep, 0))
    assert "select a trial" in terminal.look()
    assert set(QUIET) <= terminal.modes()
    at = len(terminal.look())
    terminal.type("fg\n")
    terminal.type(DOWN)
    terminal.wait_for("esc back", since=at)
    (tmp_path / "go").touch()
    terminal.wait_for("best accuracy", since=at)
    until(lambda: states(sweep) == ["COMPLETE", "COMPLETE"])


def test_the_shell_restores_the_terminal_after_a_killed_sweep(tmp_path: Path, terminal: Terminal) -> None:
    sweep = sweep_of(tmp_path, 1, script=STILL)
    terminal.type(f"{SWEEPER} run sweep.yaml\n")
    at = terminal.wait_for("keys: up/down select a trial")
    os.kill(int(holder_of(sweep.run_directory / "lease").split()[1]), signal.SIGKILL)
    terminal.wait_for("Killed", since=at)
    assert set(QUIET) <= terminal.modes()
    (tmp_path / "go").touch()
    at = len(terminal.look())
    terminal.type(f"{SWEEPER} run sweep.yaml\n")
    terminal.wait_for("best accuracy", since=at)


def test_a_sweep_is_watched_from_another_terminal_until_it_ends(tmp_path: Path, terminal: Terminal) -> None:
    sweep = sweep_of(tmp_path, 1, 2, script=STILL)
    process = sweep.start("run", "sweep.yaml", "--workers", "1")
    until(lambda: b'"step":4,' in steps(sweep, 0))
    terminal.type(f"{SWEEPER} status {RUN} --watch\n")
    at = terminal.wait_for("running: 0 of 2 ended, 1 running")
    assert "keys:" not in terminal.shown
    terminal.type("\x03")
    terminal.wait_for("$ ", since=at)
    assert process.poll() is None
    at = len(terminal.look())
    terminal.type(f"{SWEEPER} status {RUN} --watch; echo it ended with $?\n")
    at = terminal.wait_for("1 running", since=at)
    (tmp_path / "go").touch()
    terminal.wait_for("complete: 2 of 2 ended", since=at)
    terminal.wait_for("it ended with 0", since=at)
    process.communicate()
    code, out, err = sweep.call("status", RUN, "--watch")  # into a pipe: lines, and no escapes
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert out.splitlines()[0].startswith("0000 complete after 40 steps")
