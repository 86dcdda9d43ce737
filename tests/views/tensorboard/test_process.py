"""The views process, as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.errors import RunBusy
from sweeper.record.events import Metrics
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import acquire
from sweeper.views.tensorboard.process import main, project
from tests.views.synthetic import Script, make_trial, play


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    return SweepDir(tmp_path)


@pytest.fixture
def views(run: SweepDir) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sweeper.views.tensorboard", str(run.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def wait_for(path: Path) -> None:
    until = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.02)


def written(run: SweepDir) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(run.tensorboard.glob("*/events*")))


@pytest.mark.parametrize("end", ["stdin", "sigterm"])
def test_the_process_follows_new_trials_and_writes_everything_before_it_ends(
    run: SweepDir, views: subprocess.Popen[str], end: str
) -> None:
    wait_for(run.views_lease)
    trial = make_trial(run)
    play(trial, Script(until=1, outcome="", exit_code=None))
    wait_for(run.tensorboard)
    views.send_signal(signal.SIGINT)
    with JournalWriter(trial.attempt(1).events) as journal:
        journal.append(Metrics(step=9, values={"appended_last": 1.0}))
    if end == "sigterm":
        views.terminate()
        views.wait(timeout=30)
        errors = views.stderr.read() if views.stderr else ""
    else:
        errors = views.communicate("", timeout=30)[1]
    assert (views.returncode, errors) == (143 if end == "sigterm" else 0, "")
    assert b"appended_last" in written(run)


def test_once_reports_a_broken_trial_and_shows_the_others(run: SweepDir, capfd: pytest.CaptureFixture[str]) -> None:
    broken, alien, whole = make_trial(run, 0), make_trial(run, 1), make_trial(run, 2)
    for trial in (broken, alien, whole):
        play(trial, Script(until=10))
    broken.facts.write_text("{")
    alien.facts.write_text('{"number": "x"}')
    project(run, 30)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "trial 0000 is not shown" in said[0]
    assert "trial 0001 is not shown" in said[1]
    assert [path.name[:4] for path in run.tensorboard.iterdir()] == ["0002"]


def test_a_second_process_names_the_first(run: SweepDir) -> None:
    lease = acquire(run.views_lease, holder="pid 1")
    assert lease is not None
    with pytest.raises(RunBusy, match="pid 1"):
        project(run, patience_s=0.2)
    lease.release()
    project(run, patience_s=0.2)


def test_a_missing_run_is_reported_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "sweeper.views.tensorboard", str(tmp_path / "none"), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == f"sweeper views: {tmp_path / 'none'}: expected the directory of a sweep, but it does not exist\n"
    )


@pytest.mark.parametrize("option", ["--figures-every=0", "--max-layers=1"])
def test_a_picture_without_layers_is_a_usage_error(tmp_path: Path, option: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), option])
    assert stopped.value.code == 2


def test_views_import_neither_torch_nor_tensorflow() -> None:
    heavy = "('torch', 'tensorflow', 'pyplot')"
    code = f"import sys, sweeper.views.tensorboard.process; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
