"""The tests of every executor, for the Slurm executor."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sweeper.executors.executor import Executor, Slot
from sweeper.executors.processes import kill_marked
from sweeper.executors.slurm.executor import SlurmExecutor
from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.layout import AttemptDir, SweepDir
from tests.executors.conformance import Conformance
from tests.slurm.cluster import Cluster


@dataclass(frozen=True, slots=True)
class OnSlurm:
    """A run with its attempts as jobs on the only node."""

    run: SweepDir
    slurm: Cluster
    made: list[SlurmExecutor] = field(default_factory=list)

    def executor(self) -> Executor:
        self.made.append(SlurmExecutor([Slot(name="job 0", environment={"OMP_NUM_THREADS": "1"})], []))
        return self.made[-1]

    def lose(self, attempt: AttemptDir) -> None:
        """Make the node lose power: its operator reports that, and it comes back without its jobs."""
        status = Path(f"/proc/{owner_of(attempt)['pid']}/stat").read_text().rpartition(")")[2]
        self.slurm.kill("node0")
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(status.split()[1]), signal.SIGKILL)  # slurmstepd, which would still report
        kill_marked(attempt)
        self.slurm.ask("scontrol", "update", "NodeName=node0", "State=DOWN", "Reason=lost")
        self.slurm.start("node0")
        self.slurm.ask("scontrol", "update", "NodeName=node0", "State=RESUME")


class TestSlurm(Conformance):
    @pytest.fixture
    def subject(self, tmp_path: Path, slurm: Cluster) -> Iterator[OnSlurm]:
        subject = OnSlurm(SweepDir(tmp_path / "a [run] with ünïcode"), slurm)
        yield subject
        for executor in subject.made:
            executor.close()
