"""The ActionRunner on trials with records that are damaged meanwhile."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest

from sweeper.config import ResumeArgs
from sweeper.executors.executor import Executor, Slot
from sweeper.orchestrator.actions import ActionRunner
from sweeper.orchestrator.clocks import Clocks
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.plan import Action, LaunchAttempt, PauseTrial
from sweeper.orchestrator.resources.slots import SlotManager
from sweeper.orchestrator.trials import Trials
from sweeper.record.reader import open_trials, read_trial
from sweeper.record.resumption import resumption_of
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir, write_json
from sweeper.record.trial import State
from sweeper.results.receipt import cause_text
from tests.orchestrator.test_trials import make


class FakeExecutor:
    """As much of an executor as the actions need; `happens` is called when it launches an attempt."""

    def __init__(self, happens: Callable[[TrialDir], None]) -> None:
        self.happens = happens
        self.killed: list[Path] = []
        self.commands: list[tuple[int, list[str]]] = []

    def slots(self) -> Sequence[Slot]:
        return [Slot(name="cpu 0")]

    def reserve(self, *_: object) -> bool:
        return True

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:
        self.commands.append((attempt, list(command)))
        self.happens(trial)

    def kill(self, attempt: AttemptDir) -> None:
        self.killed.append(attempt.path)


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    run = SweepDir(tmp_path)
    make(run.trial(0))
    return run


@pytest.fixture
def actions(run: SweepDir) -> Iterator[ActionRunner]:
    executor = cast("Executor", FakeExecutor(lambda trial: shutil.rmtree(trial.path)))
    watcher = AttemptWatcher.open()
    trials = Trials([], watcher)
    trials.follow(open_trials(run)[0])
    slots = SlotManager(executor, print, lambda: 0)
    yield ActionRunner(trials, executor, slots, Clocks(), print)
    watcher.close()


def test_an_attempt_is_killed_if_its_record_vanishes_at_its_launch(run: SweepDir, actions: ActionRunner) -> None:
    actions.run(LaunchAttempt(number=0, slot="cpu 0"))
    executor: Any = actions.executor
    assert executor.killed == [run.trial(0).attempt(1).path]
    assert list(actions.trials.unreadable) == [0]


def test_every_attempt_after_the_first_gets_the_arguments_to_resume(run: SweepDir, actions: ActionRunner) -> None:
    executor: Any = actions.executor
    executor.happens = lambda _: None
    actions.resume_args = ResumeArgs(args=("--resume", "${trial:dir}/last.pt"))
    for _ in range(2):
        actions.run(LaunchAttempt(number=0, slot="cpu 0"))
    (_, first), (_, (*before, word)) = executor.commands
    assert first == before == list(actions.trials[0].facts.command)
    assert resumption_of(word, actions.trials[0].facts.macros(run.trial(0)), {}).path == f"{run.trial(0).path}/last.pt"


def test_a_command_that_is_too_long_fails_its_trial_without_a_slot(run: SweepDir, actions: ActionRunner) -> None:
    executor: Any = actions.executor
    executor.happens = lambda _: None
    facts = replace(actions.trials[0].facts, command=["train", "--text=" + "x" * 140_000])
    write_json(run.trial(0).facts, {"format": 2, **asdict(facts)})
    actions.trials.follow(open_trials(run)[0])
    actions.run(LaunchAttempt(number=0, slot="cpu 0"))
    assert executor.commands == []
    trial = read_trial(run.trial(0))
    assert trial.state is State.FAIL
    assert "--text=xxx" in cause_text(trial.newest)
    assert "has 140,007 bytes, and Linux accepts 131,071" in cause_text(trial.newest)


def test_arguments_that_are_too_long_together_fail_their_trial(run: SweepDir, actions: ActionRunner) -> None:
    def refuse(_: TrialDir) -> None:
        raise OSError(errno.E2BIG, "Argument list too long")

    executor: Any = actions.executor
    executor.happens = refuse
    actions.run(LaunchAttempt(number=0, slot="cpu 0"))
    trial = read_trial(run.trial(0))
    assert trial.state is State.FAIL
    assert "are longer than Linux accepts together" in cause_text(trial.newest)


@pytest.mark.parametrize("action", [LaunchAttempt(number=0, slot="cpu 0"), PauseTrial(number=0)])
def test_an_unwritable_record_becomes_unreadable(run: SweepDir, actions: ActionRunner, action: Action) -> None:
    run.trial(0).control.mkdir()
    actions.run(action)
    actions.run(action)
    assert [why for _, why in actions.trials.newly_unreadable()] == [
        f"{run.trial(0).control}: expected a readable file, got: Is a directory"
    ]
