"""Whole sweeps on a real Slurm, through the command line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeper.executors.slurm.executor import job_name
from sweeper.record.events import Resumed
from sweeper.record.reader import history, read_trial
from sweeper.record.storage.claim import node_of
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from tests.end_to_end.test_sweeps import LEARNER, Sweep
from tests.slurm.cluster import Cluster, cluster

PATIENCE_S = 150.0
ON_SLURM = {"type": "slurm", "partition": "main", "time": 30, "gres": "gpu:1"}


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def sweep(folder: Path, values: list[float], pace: float = 0.0, **keys: Any) -> Sweep:
    folder.mkdir()
    file = {
        "name": "small",
        "method": "grid",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "parameters": {"lr": {"values": values}, "pace": {"value": pace}},
        "resources": {"cpus": 1},
    }
    return Sweep(folder, LEARNER, file | keys)


def trial_of(sweep: Sweep, number: int) -> TrialRecord:
    return read_trial(SweepDir(sweep.run_directory).trial(number))


def seen(sweep: Sweep, number: int) -> bool:
    """Return whether the trial has recorded a step."""
    directory = SweepDir(sweep.run_directory).trial(number)
    return directory.facts.exists() and trial_of(sweep, number).progress.step >= 0


@pytest.mark.usefixtures("slurm")
def test_the_table_equals_that_of_the_local_executor_on_slurm(tmp_path: Path) -> None:
    values = [1.0, 3.0, 2.0, 6.0, 5.0, 4.0]
    tables: list[list[tuple[State, float | None, object, int]]] = []
    for executor in ("local", ON_SLURM):
        one = sweep(tmp_path / f"on {len(tables)}", values, executor=executor)
        code, _, err = one.call("run", "sweep.yaml")
        assert code == 0, err
        trials = [trial_of(one, number) for number in range(len(values))]
        tables.append([(trial.state, trial.value, trial.facts.params, trial.progress.step) for trial in trials])
    assert tables[0] == tables[1]
    assert [value for _, value, _, _ in tables[1]] == [820.0 * lr for lr in values]


def test_the_next_orchestrator_takes_over_the_jobs_of_a_killed_one(slurm: Cluster, tmp_path: Path) -> None:
    one = sweep(tmp_path / "a", [1.0, 2.0], pace=0.5, executor=ON_SLURM)
    first = one.start("run", "sweep.yaml")
    until(lambda: all(seen(one, number) for number in (0, 1)))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert len(slurm.jobs()) == 2
    code, _, err = one.call("run", "sweep.yaml")
    assert code == 0, err
    for number in (0, 1):
        trial = trial_of(one, number)
        assert [attempt.number for attempt in trial.attempts] == [1]
        assert trial.value == 820.0 * (number + 1)


def test_a_job_at_its_time_limit_resumes_in_another_from_its_checkpoint(slurm: Cluster, tmp_path: Path) -> None:
    """The test sends what Slurm sends before a time limit. It does not count as a retry, and none is allowed."""
    one = sweep(tmp_path / "a", [1.0], pace=0.2, executor=ON_SLURM, retry={"max": 0})
    process = one.start("run", "sweep.yaml")
    until(lambda: seen(one, 0))
    name = job_name(SweepDir(one.run_directory).trial(0).attempt(1))
    slurm.ask("scancel", "--batch", "--signal=TERM", f"--name={name}")
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    trial = trial_of(one, 0)
    assert [attempt.number for attempt in trial.attempts] == [1, 2]
    assert trial.value == 820.0
    assert any(isinstance(event, Resumed) for event in history(trial.directory.attempts()))


def test_an_interrupted_sweep_cancels_its_waiting_jobs(slurm: Cluster, tmp_path: Path) -> None:
    one = sweep(tmp_path / "a", [1.0, 2.0, 3.0], pace=0.5, executor={**ON_SLURM, "array_parallelism": 3})
    process = one.start("run", "sweep.yaml")  # three jobs, and two GPUs
    until(lambda: seen(one, 0) and seen(one, 1) and len(slurm.jobs()) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    until(lambda: not slurm.jobs())
    assert [trial_of(one, number).state.value for number in range(3)] == ["WAITING"] * 3


def test_a_node_on_which_every_job_fails_gets_no_more_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a node is always free, so that all jobs would go there one after the other."""
    dies = "import os\nif os.environ['SLURMD_NODENAME'] == 'node0': os.kill(os.getpid(), 9)\n"
    with cluster(tmp_path / "cluster", nodes=("node0", "node1"), cpus=2) as slurm:
        monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
        one = sweep(tmp_path / "a", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], executor=ON_SLURM | {"array_parallelism": 1})
        script = one.folder / "train.py"
        script.write_text(dies + script.read_text())
        code, out, err = one.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert [row["state"] for row in one.status()["trials"]] == ["COMPLETE"] * 6
    attempts = [attempt for trial in SweepDir(one.run_directory).trials() for attempt in trial.attempts()]
    assert [node_of(attempt) for attempt in attempts].count("node0") == 3
    assert "No more attempts are launched on node0" in out + err
