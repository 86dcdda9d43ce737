"""Estimates of slots, time and disk in `sweeper plan`: from recorded trials, or reported as unknown."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main
from sweeper.config import SweepSpec, load
from sweeper.errors import UsageError
from sweeper.executors.machine import Machine
from sweeper.preflight.estimate import Precedent, capacity_of, disk_text, makespan, precedents, time_text, trials_of
from sweeper.record.events import Finished, Launched, Started
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, write_json
from sweeper.trainers import TRAINERS
from sweeper.worker.standalone import write_exit

ONE = Precedent(run="runs/a", steps=640, seconds=64.0, size=30_000_000, kept=28_000_000, tensorboard=2_000_000)
FOUND = [ONE, replace(ONE, seconds=128.0), replace(ONE, seconds=80.0)]


def spec(**changes: Any) -> SweepSpec:
    parameters = {"lr": {"values": [3e-4, 8e-4]}, "epochs": {"values": [5, 10]}}
    given = {"name": "s", "method": "grid", "metric": {"name": "m"}, "trainer": "text-classification"}
    return SweepSpec.from_json({**given, "parameters": parameters, **changes})


COMMAND = {"trainer": None, "command": ["x"]}
DEFAULTS = TRAINERS["text-classification"].defaults


def test_the_time_of_known_steps_follows_from_recorded_steps() -> None:
    text = time_text(spec(), FOUND, examples=2034, concurrent=2)
    # 640 and 1280 steps at 8 a second: 80 s and 160 s, in the order of the grid, on two slots.
    assert text == (
        "about 5m20s if no trial is stopped early: 3,840 steps in 4 trials at 8 steps per second (the median of 3 "
        "complete trials of runs/a, 5 to 10), at the speed recorded there with startup and evaluation"
    )


def test_the_time_of_a_command_follows_from_its_recorded_trials() -> None:
    text = time_text(spec(**COMMAND, seeds=[0, 1, 2]), FOUND, examples=None, concurrent=5)
    assert text.startswith(
        "about 4m00s if no trial is stopped early: 12 trials of 80s (the median of 3 complete trials of"
    )
    assert "runs/a, 64s to 2m08s)" in text
    text = time_text(spec(**COMMAND), FOUND, examples=None, concurrent=None)
    assert text.startswith("5m20s divided by the number of concurrent trials if no trial is stopped early: 4")


def test_unknown_values_are_reported_with_a_remedy() -> None:
    assert time_text(spec(), [], examples=2034, concurrent=2) == (
        "unknown: no recorded run has a complete trial of this trainer, model, batch and length. "
        "Run one, then plan again with --against its run"
    )
    assert "no recorded run has a complete trial of this trainer or command" in time_text(
        spec(**COMMAND), [], examples=None, concurrent=2
    )
    assert disk_text(spec(), [], free=10**9).startswith(
        "unknown, because no recorded run has a complete trial of this kind. A trial"
    )
    endless = spec(method="random", **COMMAND)
    assert "the number of trials is unknown" in time_text(endless, FOUND, examples=None, concurrent=2)
    assert "the number of trials is unknown" in disk_text(endless, FOUND, free=10**9)


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"lr": 1.0}, 1),
        ({"lr": 1.0, "max_length": DEFAULTS["max_length"], "batch_size": DEFAULTS["batch_size"]}, 1),
        ({"max_length": 81}, 0),
        ({"batch_size": 8}, 0),
        ({"hidden_size": 32}, 0),
    ],
)
def test_for_the_built_in_trainer_only_trials_of_the_same_size_count(
    tmp_path: Path, params: dict[str, object], count: int
) -> None:
    run = SweepDir(tmp_path / "a")
    trial = run.trial(0)
    trial.attempt(1).path.mkdir(parents=True)
    write_json(run.spec, {"spec": spec().to_json()})
    facts = {"number": 0, "configuration": 0, "seed": 0, "shown": {}, "command": [], "metric": "m", "maximize": True}
    write_json(trial.facts, {**facts, "params": params})
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=1.0, attempt=1, slot="cpu 0", gpus=0.0))
    with JournalWriter(trial.attempt(1).events) as events:
        events.append(Started(time=1.0, pid=1, host="a", attempt=1))
        events.append(Finished(time=9.0, outcome="completed"))
    write_exit(trial.attempt(1), code=0, signal=None, cause="", peak_device_mb=None)
    assert len(precedents(spec(), [run])) == count


def test_the_estimate_is_compared_with_the_free_disk_space() -> None:
    text = disk_text(spec(), FOUND, free=10**9)
    assert text == (
        "about 128 MB: 4 trials of 30 MB (28 MB of them checkpoints and best weights), and 2 MB for TensorBoard (the "
        "median of 3 complete trials of runs/a). 1 GB are free"
    )
    assert disk_text(spec(), FOUND, free=10**8).endswith("100 MB are free, which is TOO LITTLE")


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 4), ({"seeds": [0, 1]}, 8), ({"seeds": [0, 1], "run_cap": 5}, 6), ({"budget": {"trials": 3}}, 3)],
)
def test_the_number_of_trials_follows_from_the_file(changes: dict[str, Any], count: int) -> None:
    assert trials_of(spec(**changes)) == count
    assert trials_of(spec(method="random", run_cap=7)) == 7
    assert trials_of(spec(method="random", run_cap=10, seeds=[0, 1, 2])) == 12


@pytest.mark.parametrize(
    ("times", "concurrent", "end"),
    [([1, 2, 3], 1, 6), ([1, 2, 3], 2, 4), ([3, 1, 1, 1], 2, 3), ([5], 9, 5), ([], 2, 0)],
)
def test_makespan(times: list[float], concurrent: int, end: float) -> None:
    assert makespan(times, concurrent) == end


def test_the_slots_are_those_of_a_run() -> None:
    machine = Machine(devices=[], cores=6)
    capacity = capacity_of(spec(resources={"cpus": 2}), machine)
    assert (capacity.count, capacity.text) == (
        3,
        "3 slots on this machine: cpu 0, cpu 1, cpu 2, with 2 threads each, of 6 cores and no CUDA device",
    )
    shared = capacity_of(spec(resources={"gpus": 0.5}), replace(machine, devices=["GPU-a", "GPU-b"]))
    assert shared.count == 4
    assert shared.text.startswith("4 slots on this machine: gpu 0 #1, gpu 1 #1, gpu 0 #2, gpu 1 #2, with 1 thread each")
    assert capacity_of(spec(executor={"type": "slurm", "array_parallelism": 5}), machine).count == 5
    assert capacity_of(spec(executor={"type": "ray", "address": "auto"}), machine).text.startswith(
        "a Ray cluster at auto;"
    )
    with pytest.raises(UsageError, match="expected at most the number of whole GPUs here, 1, got 2"):
        capacity_of(spec(resources={"gpus": 2}), replace(machine, devices=["GPU-a"]))


SWEEP = """
name: s
program: train.py
command: ["${interpreter}", "${program}"]
method: grid
metric: {name: score}
parameters: {x: {values: [1, 2, 3]}}
resources: {cpus: 1}
"""
SCRIPT = """
import sweeper
with sweeper.trial() as trial:
    (trial.dir / "best").mkdir()
    (trial.dir / "best" / "weights").write_bytes(bytes(100_000))
    if trial.params["x"] == 2:
        raise SystemExit(3)
    for step in range(20):
        trial.report({"score": 1.0}, step=step)
"""


def test_a_plan_against_a_run_uses_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SWEEP)
    Path("train.py").write_text(SCRIPT)
    subprocess.run(
        [sys.executable, "-m", "sweeper.cli", "run", "s.yaml"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=100,
    )
    run = SweepDir(Path("runs/s"))
    sweep = load("s.yaml", has_cuda=False, trainers={})
    one, other = precedents(sweep, [run])  # the one that failed is none
    assert (one.steps, other.steps, one.kept) == (20, 20, 100_000)
    assert 100_000 < one.size < 110_000
    assert 0 < one.seconds < 60
    assert precedents(spec(**COMMAND), [run]) == []  # of another command
    before = sorted(Path().rglob("*"))
    assert main(["plan", "s.yaml", "--against", "runs/s", "--workers", "2"]) == 0
    said = capsys.readouterr().out
    assert "where  2 slots on this machine: cpu 0, cpu 1" in said
    assert "the median of 2 complete trials of runs/s" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    assert sorted(Path().rglob("*")) == before
