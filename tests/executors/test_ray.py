"""The Ray executor on a real cluster of several nodes on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sweeper
from sweeper.executors.choice import Machine
from sweeper.executors.executor import Executor
from sweeper.record.layout import KEEPER, AttemptDir, SweepDir
from sweeper.spec import SweepSpec
from tests.executors.conformance import Conformance, Subject, shim_of

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "sweeper[ray]"')

pytestmark = pytest.mark.cluster

MACHINE = Machine(devices=[], cores=2, workers=2)
ROOT = Path(sweeper.__file__).parents[1]


class RaySubject:
    """The executor on the cluster; a place is lost when the actor there is."""

    def __init__(self, folder: Path, address: str, launch: str) -> None:
        self.run = SweepDir(folder / "a [run] with ünïcode")
        self.run.path.mkdir()
        settings = {"type": "ray", "address": address, "work_dir": str(folder / "node")}
        metric = {"name": "loss", "goal": "minimize"}
        keys = {"name": "a", "command": ["true"], "method": "grid", "metric": metric, "launch": launch}
        self._spec = SweepSpec.from_json({**keys, "executor": settings})
        self._made: list[Executor] = []

    def executor(self) -> Executor:
        from sweeper.executors.choice import executor_of

        self._made.append(executor_of(self._spec, self.run, MACHINE))
        return self._made[-1]

    def lose(self, attempt: AttemptDir) -> None:
        keeper = dict(
            pair.split("=", 1) for pair in Path(f"/proc/{shim_of(attempt)}/environ").read_text().split("\0") if pair
        )[KEEPER]
        os.kill(int(keeper.split()[0]), signal.SIGKILL)

    def close(self) -> None:
        for executor in self._made:
            executor.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    for name, value in {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_AUTH_MODE": "disabled",
    }.items():
        patch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()
    patch.undo()


@pytest.fixture
def address(cluster: Any) -> str:
    if not ray.is_initialized():
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    return str(cluster.address)


class TestRay(Conformance):
    @pytest.fixture
    def subject(self, tmp_path: Path, address: str) -> Iterator[Subject]:
        subject = RaySubject(tmp_path, address, "spawn")
        yield subject
        subject.close()
