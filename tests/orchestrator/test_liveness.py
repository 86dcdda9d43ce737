"""Which running trials have no process left, and how often that is checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from sweeper.executors.executor import Executor
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.liveness import Liveness
from sweeper.orchestrator.trials import Trials
from sweeper.record.reader import open_trials
from sweeper.record.storage.layout import AttemptDir, SweepDir
from tests.orchestrator.test_trials import do, end, make


class FakeExecutor:
    """As much of an executor as liveness needs; trials in `ends` end while they are checked."""

    def __init__(self, run: SweepDir) -> None:
        self.run = run
        self.alive = {0, 1}
        self.ends: set[int] = set()
        self.checks = 0

    def is_alive(self, attempt: AttemptDir) -> bool:
        self.checks += 1
        number = int(attempt.path.parents[1].name)
        if number in self.ends:
            end(self.run.trial(number), 1)
        return number in self.alive


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    for number in range(2):
        make(run.trial(number))
    return run


@pytest.fixture
def trials(run: SweepDir) -> Iterator[Trials]:
    watcher = AttemptWatcher.open()
    trials = Trials([], watcher)
    trials.follow(open_trials(run)[0])
    for number in range(2):
        do(trials, run.trial(number), "launch")
    yield trials
    watcher.close()


def alive(liveness: Liveness) -> list[int]:
    return [trial.number for trial in liveness.alive()]


def test_a_trial_without_a_process_is_dead_until_a_check_finds_one(run: SweepDir, trials: Trials) -> None:
    executor = FakeExecutor(run)
    liveness = Liveness(cast("Executor", executor), trials)
    executor.alive = {1}
    liveness.check()
    assert alive(liveness) == [1]
    executor.alive = {0, 1}
    liveness.check()
    assert alive(liveness) == [1]  # no check is due yet
    liveness.check_soon()
    liveness.check()
    assert alive(liveness) == [0, 1]
    assert executor.checks == 4


def test_an_attempt_that_ended_meanwhile_is_read_again(run: SweepDir, trials: Trials) -> None:
    executor = FakeExecutor(run)
    executor.alive, executor.ends = {1}, {0}
    Liveness(cast("Executor", executor), trials).check()
    assert trials[0].state.ended
