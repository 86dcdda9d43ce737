"""The tests of every executor, for the local executor with both kinds of launch."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import sweeper
from sweeper.executors.executor import Executor, Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.processes import kill_marked
from sweeper.record.storage.layout import AttemptDir, SweepDir
from tests.executors.conformance import Conformance, Subject, launch, make_trial, over, shim_of, until

SLOT = Slot(name="cpu 0", environment={"OMP_NUM_THREADS": "1"})


class LocalSubject:
    """Executors on this machine; those that preload are ready to fork."""

    def __init__(self, run: SweepDir, *, preload: bool) -> None:
        self.run = run
        self._preload = preload
        self._made: list[LocalExecutor] = []

    def executor(self) -> Executor:
        made = LocalExecutor([SLOT], preload=self._preload)
        self._made.append(made)
        if self._preload:  # the first attempt starts without preloading, and starts the preload process
            first = make_trial(SweepDir(self.run.path / f"first {len(self._made)}"))
            over(made, launch(made, first, "pass"))
            until(lambda: made._preloaded is not None and made._preloaded.is_ready)
        return made

    def lose(self, attempt: AttemptDir) -> None:
        os.killpg(shim_of(attempt), signal.SIGKILL)

    def close(self) -> None:
        for attempt in self.run.trial(0).attempts():
            kill_marked(attempt)
        for executor in self._made:
            until(functools.partial(_all_ended, executor))
            executor.close()


def _all_ended(executor: LocalExecutor) -> bool:
    return all(shim.poll() is not None for shim in executor._shims.values())


class TestLocal(Conformance):
    @pytest.fixture(params=["spawn", "preload"])
    def subject(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Subject]:
        monkeypatch.setenv("PYTHONPATH", str(Path(sweeper.__file__).parents[1]))
        subject = LocalSubject(SweepDir(tmp_path / "a [run] with ünïcode"), preload=request.param == "preload")
        yield subject
        subject.close()
