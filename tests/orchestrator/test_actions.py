"""Acts on trials whose records somebody damages meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from sweeper.executors.executor import Executor, Slot
from sweeper.orchestrator.actions import Acts
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.io.inotify import Notices
from sweeper.orchestrator.plan import Action, Hold, Launch
from sweeper.orchestrator.resources.slots import Places
from sweeper.orchestrator.trials import Trials
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir
from sweeper.record.trial import open_trials
from tests.orchestrator.test_trials import make


class Placing:
    """As much of an executor as an act needs; something happens when it launches."""

    def __init__(self, happens: Callable[[TrialDir], None]) -> None:
        self.happens = happens
        self.killed: list[Path] = []

    def slots(self) -> Sequence[Slot]:
        return [Slot(name="cpu 0")]

    def reserve(self, *_: object) -> bool:
        return True

    def launch(self, trial: TrialDir, *_: object) -> None:
        self.happens(trial)

    def kill(self, attempt: AttemptDir) -> None:
        self.killed.append(attempt.path)


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    make(run.trial(0))
    return run


@pytest.fixture
def acts(run: SweepDir) -> Iterator[Acts]:
    executor = cast("Executor", Placing(lambda trial: shutil.rmtree(trial.path)))
    notices = Notices.here()
    trials = Trials([], notices)
    trials.read(open_trials(run)[0])
    places = Places(executor, print, lambda: 0)
    yield Acts(trials, executor, places, Clocks(), print)
    notices.close()


def test_what_is_launched_as_its_record_goes_is_killed(run: SweepDir, acts: Acts) -> None:
    acts.do(Launch(number=0, slot="cpu 0"))
    executor: Any = acts.executor
    assert executor.killed == [run.trial(0).attempt(1).path]
    assert list(acts.trials.gone) == [0]


@pytest.mark.parametrize("action", [Launch(number=0, slot="cpu 0"), Hold(number=0)])
def test_a_trial_whose_record_nobody_can_write_to_is_gone(run: SweepDir, acts: Acts, action: Action) -> None:
    run.trial(0).control.mkdir()
    acts.do(action)
    acts.do(action)
    assert [why for _, why in acts.trials.losses()] == [
        f"{run.trial(0).control}: expected a readable file, got: Is a directory"
    ]
