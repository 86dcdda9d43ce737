"""The Ray executor on a real cluster of several nodes on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.executors.executor import Executor
from sweeper.executors.machine import Machine
from sweeper.record.layout import KEEPER, AttemptDir, SweepDir
from sweeper.spec import SweepSpec
from tests.executors.conformance import Conformance, Subject, shim_of
from tests.executors.rays import started

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "sweeper[ray]"')

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MACHINE = Machine(devices=[], cores=2, workers=2)


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
    with started(num_cpus=2) as cluster:
        yield cluster


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
