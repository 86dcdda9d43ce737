"""`sweeper reproduce`: what was recorded, what differs here, and the reproduction of the trial, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec, load, reproduction_as_file, sweep_of_trial, with_name_suffix
from sweeper.record.events import SweepStarted
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, read_json, write_json
from tests.end_to_end.test_sweeps import PATIENCE_S, ROOT

SCRIPT = """
import pathlib, random, sweeper
with sweeper.trial() as trial:
    noise = random.Random(trial.seed)
    drift = float(pathlib.Path("drift").read_text())
    trial.plan(total_steps=20)
    for step in range(20):
        value = trial.params["lr"] * step + noise.random() + (drift if step >= 12 else 0.0)
        trial.report({"accuracy": value, "loss": 1.0}, step=step)
"""

SWEEP = {
    "name": "s",
    "method": "grid",
    "command": ["${interpreter}", "train.py"],
    "metric": {"name": "accuracy", "goal": "maximize"},
    "parameters": {"lr": {"values": [0.1, 3e-5]}, "optimizer.names": {"value": ["a", 1]}},
    "seeds": [3, 4],
    "early_stop": {"audit": 0.5},
}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def call(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a script that was changed since the commit, and a sweep of two trials a seed that it ran."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "windows.txt").write_bytes(b"one\r\ntwo\r\n")
    (folder / "drift").write_text("0")
    (folder / ".gitignore").write_text("runs/\ndrift\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "train.py").write_text(f"# changed\n{SCRIPT}")
    (folder / "windows.txt").write_bytes(b"one\r\n2\r\n\r\n")
    (folder / "new.py").write_text("")
    (folder / "sweep.json").write_text(json.dumps(SWEEP))
    code, said = call(folder, "run", "sweep.json", "--workers", "2", OMP_NUM_THREADS="1")
    assert code == 0, said
    return folder


def test_all_that_was_recorded_is_said_and_nothing_differs_here_and_now(folder: Path) -> None:
    code, said = call(folder, "reproduce", "runs/s", "2", OMP_NUM_THREADS="1")
    assert code == 0
    assert "trial 0002 of s: lr=0.1, seed 4" in said
    assert f"commit       {git(folder, 'rev-parse', 'HEAD')[:12]}, 4 lines changed" in said
    assert "untracked    new.py, sweep.json" in said
    assert f"directory    {folder}" in said
    assert '{"lr": 0.1, "optimizer.names": ["a", 1]}' in said
    assert "environment  OMP_NUM_THREADS=1" in said
    assert "slots        cpu 0, cpu 1" in said
    assert "This environment is the same as the recorded one." in said
    assert said.rstrip().endswith(f"sweeper reproduce {folder}/runs/s 2 --run")


def test_each_difference_to_here_and_now_is_named_and_how_to_undo_it(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "-q", str(tmp_path / "other"))
    commit = git(folder, "rev-parse", "HEAD")
    git(tmp_path / "other", "commit", "-qm", "second", "--allow-empty")
    run = SweepDir(folder / "runs" / "s")
    kept = run.spec.read_bytes()
    try:
        recorded: dict[str, Any] = read_json(run.spec)
        recorded["provenance"]["packages"]["torch"] = "1.0"
        recorded["provenance"]["devices"] = ["GPU-1"]
        write_json(run.spec, recorded)
        _, said = call(tmp_path / "other", "reproduce", str(run.path), "0", OMP_NUM_THREADS="")
    finally:
        run.spec.write_bytes(kept)
    differences = said.partition("different here:")[2]
    assert f"recorded {commit[:12]}, 4 lines changed, here {git(tmp_path / 'other', 'rev-parse', 'HEAD')[:12]}" in (
        differences
    )
    assert "torch            recorded 1.0, here " in differences
    assert "OMP_NUM_THREADS  recorded 1, here -" in differences
    assert "devices          recorded GPU-1, here -" in differences
    assert f"git worktree add ../s-{commit[:12]} {commit} && cd ../s-{commit[:12]}" in differences
    assert "pip install torch==1.0" in differences
    assert "export OMP_NUM_THREADS=1" in differences


def test_the_patch_makes_the_commit_what_was_run(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "-q", "--detach", str(tmp_path / "again"), "HEAD")
    patch = subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "reproduce", "runs/s", "0", "--patch"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["git", "apply"], cwd=tmp_path / "again", input=patch, check=True)
    for name in ("train.py", "windows.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_trial_comes_again_to_the_last_bit_in_a_run_of_its_own(folder: Path) -> None:
    code, said = call(folder, "reproduce", "runs/s", "2", "--run")
    assert code == 0, said
    assert "OMP_NUM_THREADS" in said.partition("different here:")[2]
    assert "accuracy: 20 values, equal to the last bit" in said
    assert "The values are equal to the recorded ones, to the last bit." in said
    again = SweepDir(folder / "runs" / "s-0002-again")
    facts = json.loads(again.trial(0).facts.read_bytes())
    assert (facts["seed"], facts["params"]) == (4, {"lr": 0.1, "optimizer.names": ["a", 1]})
    started = [json.loads(line) for line in again.log.read_text().splitlines()]
    assert len(next(line for line in started if line["event"] == "SweepStarted")["slots"]) == 2
    assert call(folder, "reproduce", "runs/s", "2", "--run")[0] == 0
    assert (folder / "runs" / "s-0002-again-2").exists()


def test_it_is_said_where_the_values_part_and_by_how_much(folder: Path) -> None:
    (folder / "drift").write_text("0.25")
    try:
        code, said = call(folder, "reproduce", "runs/s", "3", "--run")
    finally:
        (folder / "drift").write_text("0")
    assert code == 1
    assert "accuracy: 20 values, 12 of them equal; they first differ at step 12" in said
    assert "and by up to 0.25" in said
    assert "loss: 20 values, equal to the last bit" in said
    assert "The values are not equal to the recorded ones: accuracy is different." in said


def test_a_run_that_has_no_sweep_or_no_such_trial_is_refused_in_words(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", str(tmp_path), "0"]) == 2
    assert "expected the directory of a run" in capsys.readouterr().err
    assert main(["reproduce", str(folder / "runs" / "s"), "9"]) == 2
    assert "expected the number of a trial (0 to 3), got 9" in capsys.readouterr().err


def spec(**changes: object) -> SweepSpec:
    return SweepSpec.from_json({**SWEEP, **changes})


CASES: Mapping[str, Any] = {
    "a command": ({}, {"lr": 3e-5, "optimizer.names": ["a", None, True]}, {}),
    "a range": ({"parameters": {"lr": {"min": 0.1, "max": 1.0, "distribution": "uniform"}}}, {"lr": 0.3}, {}),
    "known settings": (
        {"method": "tpe", "start_with": [{"lr": 0.1}, {"lr": 3e-5}], "learn_from": ["other"]},
        {"lr": 3e-5},
        {},
    ),
    "data": (
        {"command": None, "trainer": "text-classification", "dataset": ["20newsgroups", "synthetic"]},
        {"lr": 1e-4, "epochs": 2, "dataset": "synthetic", "tokenizer": "wordpiece"},
        {"dataset": "synthetic", "tokenizer": "wordpiece"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_trial_as_a_sweep_is_a_file_that_says_the_same(case: str, tmp_path: Path) -> None:
    changes, params, data = CASES[case]
    for stopped in (True, False):
        one = with_name_suffix(
            sweep_of_trial(spec(**changes), params=params, data=data, seed=7, stopped=stopped), "-0001-again"
        )
        path = tmp_path / "again.yaml"
        path.write_text(reproduction_as_file(one))
        read = load(path, has_cuda=False, trainers={"text-classification": {"lr": 1.0, "epochs": 1}})
        assert read == one
        assert read.seeds == (7,)
        assert list(read.parameters) == [name for name in params if name not in data]
        assert [getattr(read, key) for key in data] == [(value,) for value in data.values()]
        # A trial that a rule ended may be ended by it again, without an audit; another one is ended by no rule.
        assert (read.early_stop is not None) is stopped
        assert read.early_stop is None or read.early_stop.audit == 0


def test_the_slots_are_those_of_the_call_that_launched_the_trial(folder: Path) -> None:
    log = SweepDir(folder / "runs" / "s").log
    kept = log.read_bytes()
    try:
        with JournalWriter(log) as journal:
            later = json.loads(kept.splitlines()[-1])["time"] + 100
            journal.append(SweepStarted(time=later, pid=1, host="h", profile="", slots=("cpu:0",) * 7))
        assert "slots        cpu 0, cpu 1" in call(folder, "reproduce", "runs/s", "0")[1]
    finally:
        log.write_bytes(kept)
