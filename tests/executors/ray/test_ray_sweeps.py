"""Whole sweeps on a real Ray cluster of several nodes on this machine; nodes and drivers are killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.layout import TrialDir
from tests.end_to_end.test_sweeps import LEARNER, Sweep, grid
from tests.executors.conformance import is_gone, until
from tests.executors.ray.clusters import add_node, started

pytest.importorskip("ray", reason='Ray is not installed: pip install "sweeper[ray]"')

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

NEEDS = {"away": 1}
"""A custom resource that the first node does not have, so that trials run on known nodes."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with started(num_cpus=2) as cluster:
        yield cluster


def on(cluster: Any, folder: Path, **settings: Any) -> dict[str, Any]:
    node = {"type": "ray", "address": cluster.address, "work_dir": str(folder / "node")}
    return {"executor": {**node, **settings}}


def sweep_in(folder: Path, file: dict[str, Any]) -> Sweep:
    folder.mkdir()
    return Sweep(folder, LEARNER, file)


def records(directory: Path, attempt: int = 1) -> dict[str, bytes]:
    """Return the files of the attempts of a run, by trial and name."""
    return {
        f"{path.parents[2].name}/{path.name}": path.read_bytes()
        for path in directory.glob(f"trials/*/attempts/{attempt}/*")
        if path.name != "lease"
    }


def node_of(folder: Path) -> Path:
    """Return the folder in which nodes keep the only sweep that ran."""
    [place] = (folder / "node").iterdir()
    return place


def without_times(data: bytes) -> list[dict[str, Any]]:
    """The events without what differs between two runs; the checksum of a line depends on it too."""
    apart = ("time", "pid", "host", "crc")
    lines = [json.loads(line) for line in data.splitlines()]
    return [{key: value for key, value in line.items() if key not in apart} for line in lines]


def test_the_table_equals_that_of_the_local_executor(cluster: Any, tmp_path: Path) -> None:
    file = grid("table", seeds=[0, 1, 2])
    here = sweep_in(tmp_path / "here", file)
    there = sweep_in(tmp_path / "there", file | on(cluster, tmp_path))
    for sweep in (here, there):
        code, out, err = sweep.call("run", "sweep.yaml", "--workers", "2")
        assert code == 0, out + err
    fields = ("number", "params", "seed", "state", "value", "step", "attempts", "cause")
    tables = [[[trial[field] for field in fields] for trial in sweep.status()["trials"]] for sweep in (here, there)]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6
    of_here, of_there = records(here.run_directory), records(there.run_directory)
    assert of_here.keys() == of_there.keys()
    events = [name for name in of_here if name.endswith("events.jsonl")]
    assert [without_times(of_here[name]) for name in events] == [without_times(of_there[name]) for name in events]
    assert not list(node_of(tmp_path).glob("trials/*"))  # nodes delete what has been transferred


def test_a_trial_on_a_killed_node_resumes_elsewhere_from_its_checkpoint(cluster: Any, tmp_path: Path) -> None:
    file = grid("lost") | {"checkpoint": {"every_minutes": 0.005}}
    file["parameters"] = {"lr": {"value": 2}, "pace": {"value": 0.1}, "steps": {"value": 80}}
    undisturbed = 2 * sum(range(1, 81))
    sweep = sweep_in(tmp_path / "sweep", file | on(cluster, tmp_path, resources=NEEDS))
    node = add_node(cluster, num_cpus=1, resources=NEEDS)
    process = sweep.start("run", "sweep.yaml")
    trial = TrialDir(sweep.run_directory / "trials" / "0000")
    until(lambda: len(list(trial.checkpoints.glob("step-*.pt"))) == 2)
    shim = int(str(owner_of(trial.attempt(1))["pid"]))
    cluster.remove_node(node, allow_graceful=False)
    until(lambda: is_gone(shim))
    lost = records(node_of(tmp_path))
    after = add_node(cluster, num_cpus=1, resources=NEEDS)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    [row] = sweep.status()["trials"]
    assert (row["state"], row["value"], row["attempts"]) == ("COMPLETE", undisturbed, 2)
    assert b'"Resumed"' in trial.attempt(2).events.read_bytes()
    for name, data in records(sweep.run_directory).items():
        assert lost[name].startswith(data)
    cluster.remove_node(after, allow_graceful=False)


def test_another_driver_takes_over_from_a_killed_one_and_the_record_is_exact(cluster: Any, tmp_path: Path) -> None:
    # The trials wait at two steps, so that a slow start of one does not let the other end before the driver is killed.
    wait = f"while step in (10, 20) and not Path(f'{tmp_path}/go-{{step}}').exists(): time.sleep(0.05)"
    script = LEARNER.replace('time.sleep(trial.params.get("pace", 0.0))', wait).replace(
        "import time", "from pathlib import Path; import time"
    )
    (tmp_path / "sweep").mkdir()
    sweep = Sweep(tmp_path / "sweep", script, grid("driver") | on(cluster, tmp_path))
    first = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: all_at(sweep.run_directory, 9))
    first.kill()
    first.communicate()
    (tmp_path / "go-10").touch()  # so that trials write something while no driver transfers it
    until(lambda: all_at(node_of(tmp_path), 19))
    there = records(node_of(tmp_path))
    here = records(sweep.run_directory)
    assert all(there[name].startswith(data) for name, data in here.items())
    assert there != here
    second = sweep.start("run", "sweep.yaml", "--workers", "2")
    until(lambda: records(sweep.run_directory) == there)
    (tmp_path / "go-20").touch()
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, out + err
    rows = sweep.status()["trials"]
    assert [(row["state"], row["value"], row["attempts"]) for row in rows] == [
        ("COMPLETE", 820, 1),
        ("COMPLETE", 1640, 1),
    ]


def all_at(directory: Path, step: int) -> bool:
    """Return whether both trials of a run have reported a step."""
    of_trials = [data for name, data in records(directory).items() if name.endswith("/events.jsonl")]
    return len(of_trials) == 2 and all(f'"step":{step},'.encode() in data for data in of_trials)


def test_without_an_address_a_cluster_is_started_and_ended(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, LEARNER, grid("own") | {"executor": "ray"})
    code, out, err = sweep.call("run", "sweep.yaml")
    assert code == 0, out + err
    assert sweep.values() == [820, 1640]
    mark = str(tmp_path).encode()
    until(lambda: not [pid for pid in Path("/proc").glob("[0-9]*") if _works_in(pid, mark)])


def _works_in(process: Path, folder: bytes) -> bool:
    try:
        return os.fsencode((process / "cwd").readlink()).startswith(folder)
    except OSError:
        return False
