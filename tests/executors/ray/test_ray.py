"""The Ray executor on a real cluster of several nodes on this machine."""

from __future__ import annotations

import functools
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import LaunchMode, SweepSpec
from sweeper.executors.executor import Executor, Slot
from sweeper.executors.machine import Machine
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir
from tests.executors.conformance import (
    DEAF_WITH_CHILDREN,
    Conformance,
    Subject,
    is_gone,
    launch,
    make_trial,
    over,
    running,
    shim_of,
    until,
)
from tests.executors.ray.clusters import started

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "sweeper[ray]"')

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MACHINE = Machine(devices=[], cores=2, workers=2)


COMMAND_LINE = "print(*open('/proc/self/cmdline').read().split(chr(0)))"


class RaySubject:
    """The executor on the cluster; a machine fails when the actor on it does."""

    def __init__(self, folder: Path, address: str, launch: str) -> None:
        self.run = SweepDir(folder / "a [run] with ünïcode")
        self.run.path.mkdir()
        settings = {"type": "ray", "address": address, "work_dir": str(folder / "node")}
        metric = {"name": "loss", "goal": "minimize"}
        keys = {"name": "a", "command": ["true"], "method": "grid", "metric": metric, "launch": launch}
        self._spec = SweepSpec.from_json({**keys, "executor": settings})
        self._made: list[Executor] = []
        self._firsts = itertools.count(900)

    def executor(self) -> Executor:
        from sweeper.executors.choice import executor_of

        made = executor_of(self._spec, self.run, MACHINE)
        self._made.append(made)
        if (
            self._spec.launch is LaunchMode.PRELOAD
        ):  # the first attempt starts without preloading, and starts the preload process
            until(functools.partial(self._forks, made))
        return made

    def _forks(self, executor: Executor) -> bool:
        attempt = launch(executor, make_trial(self.run, next(self._firsts)), COMMAND_LINE)
        over(executor, attempt)
        return b"sweeper.worker.process.preload" in attempt.output.read_bytes()

    def lose(self, attempt: AttemptDir) -> None:
        pid = shim_of(attempt)
        while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(pid, signal.SIGKILL)

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
    @pytest.fixture(params=["spawn", "preload"])
    def subject(self, request: pytest.FixtureRequest, tmp_path: Path, address: str) -> Iterator[Subject]:
        subject = RaySubject(tmp_path, address, request.param)
        yield subject
        subject.close()

    def test_no_process_outlives_a_host(self, subject: Subject, executor: Executor, trial: TrialDir) -> None:
        """This process neither stops nor kills the attempt: on another machine it could not."""
        attempt = launch(executor, trial, DEAF_WITH_CHILDREN)
        pids = [*running(attempt), str(shim_of(attempt))]
        subject.lose(attempt)
        until(lambda: all(is_gone(pid) for pid in pids))

    def test_a_slot_is_reserved_once_ray_has_started_its_host(
        self, subject: Subject, executor: Executor, trial: TrialDir
    ) -> None:
        first, second = executor.slots()
        other = make_trial(subject.run, 1)
        for directory, slot in ((trial, first), (other, second)):
            until(functools.partial(executor.reserve, directory, 1, slot))
        late = subject.executor()
        third = make_trial(subject.run, 2)
        assert not late.reserve(third, 1, Slot(name="ray 2"))
        executor.close()  # releases its host
        until(lambda: late.reserve(third, 1, Slot(name="ray 2")))
        late.close()
