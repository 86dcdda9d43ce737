"""The harness sees what it is there to see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.harness import CHECKS, Undisturbed
from tests.faults.sweeps import PLAIN, PRELUDE, Kind, Site

NOTHING = Undisturbed(table=[], points={}, lines=0)


def problems(site: Site, before: dict[Path, bytes] | None = None) -> list[str]:
    return [problem for check in CHECKS[1:] for problem in check(site, NOTHING, before or {})]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(PLAIN, tmp_path)


def test_a_process_that_is_left_is_seen_by_its_folder_alone(site: Site) -> None:
    left = subprocess.Popen(["/bin/sleep", "60"], cwd=site.folder, env={})
    try:
        assert problems(site) == [f"process {left.pid} is left: /bin/sleep 60 "]
    finally:
        site.clear()
        assert left.wait(10) == -signal.SIGKILL


def test_a_line_that_is_gone_is_seen(site: Site) -> None:
    trial = site.run.trial(0)
    trial.path.mkdir(parents=True)
    trial.control.write_text("one\ntwo\ntorn")
    before = site.record()
    trial.control.write_text("one\ntwo\nhealed\n")
    assert problems(site, before) == []
    trial.control.write_text("one\n")
    assert problems(site, before) == ["runs/small/trials/0000/control.jsonl: lines that stood there are gone"]


def test_two_workers_of_one_trial_are_seen(tmp_path: Path) -> None:
    script = PRELUDE + "time.sleep(float(sys.argv[1]))\nsay('end')\n"
    site = Site(Kind(name="twice", script=script), tmp_path)
    trial = site.run.trial(0)
    trial.path.mkdir(parents=True)
    command = [sys.executable, "train.py"]
    environment = {**os.environ, "SWEEPER_TRIAL_DIR": str(trial.path), "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen([*command, "60"], cwd=site.folder, env=environment)
    while not (tmp_path / "traces" / "0000-0").exists() or "begin" not in (tmp_path / "traces" / "0000-0").read_text():
        time.sleep(0.02)
    subprocess.run([*command, "0"], cwd=site.folder, env=environment, check=True)
    site.clear()
    first.wait(10)
    assert problems(site) == ["0000-0: a worker found another one at work"]
