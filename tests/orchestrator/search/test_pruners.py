"""Pruners during a sweep decide as in a replay of the record, also after a takeover; audits do not affect them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeper import config
from sweeper.config import EarlyStop, Goal, Metric, PrunerSettings
from sweeper.orchestrator.follower import Follower
from sweeper.orchestrator.search.pruners import SweepPruners
from sweeper.record.decision import Decision
from sweeper.record.events import (
    AUDITED,
    Continued,
    Evaluated,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Started,
    StopRequested,
)
from sweeper.record.progress import Evaluation
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json, write_json
from sweeper.search import pruners
from sweeper.search.pruners import History

METRIC = Metric(name="accuracy", goal=Goal.MAXIMIZE)
CURVES = [[level * (1 - 0.6**epoch) for epoch in range(1, 8)] for level in (0.5, 0.9, 0.3, 0.8, 0.1, 0.7, 0.2, 0.6)]
SETTINGS: list[PrunerSettings] = [
    config.Median(n_startup_trials=2),
    config.Percentile(percentile=50.0, n_startup_trials=1),
    config.SuccessiveHalving(reduction_factor=2),
    config.Hyperband(max_resource=7),
    config.OneEpoch(),
]


class RecordedTrials:
    """Trials with records that grow one event at a time."""

    def __init__(self, path: Path, count: int) -> None:
        self.run = SweepDir(path)
        self.trials = [self._trial(number) for number in range(count)]
        self.followers = [Follower.of(trial, []) for trial in self.trials]

    def _trial(self, number: int) -> TrialDir:
        trial = self.run.trial(number)
        trial.path.mkdir(parents=True)
        facts = {"number": number, "configuration": number, "seed": 0, "params": {}, "shown": {}, "command": []}
        write_json(trial.facts, {**facts, "metric": METRIC.name, "maximize": True})
        self.start(trial, attempt=1)
        return trial

    def start(self, trial: TrialDir, *, attempt: int) -> None:
        trial.attempt(attempt).path.mkdir(parents=True)
        append(trial.control, Launched(attempt=attempt, slot="cpu 0"))
        append(trial.attempt(attempt).events, Started(pid=1, host="here"))

    def measure(self, number: int, evaluation: int, value: float, *, time: float = 0.0, attempt: int = 1) -> None:
        event = Metrics(time=time, step=10 * evaluation - 1, values={METRIC.name: value})
        append(self.trials[number].attempt(attempt).events, event)

    def end(self, number: int, *, pruned: bool = False) -> None:
        trial = self.trials[number]
        if pruned:
            append(trial.control, StopRequested(attempt=1, cause="pruned", decision=Decision.read({"rule": "median"})))
        append(trial.attempt(1).events, Finished(outcome="stopped" if pruned else "completed"))
        exit_ = Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
        trial.attempt(1).exit.write_bytes(encode(exit_))

    def pruners(self, *settings: PrunerSettings) -> SweepPruners:
        return SweepPruners.of(self.run, METRIC, EarlyStop(rules=settings))

    def report(self, pruners: SweepPruners) -> None:
        for follower in self.followers:
            follower.poll()
        pruners.report(self.followers)


def append(path: Path, event: Event) -> None:
    with JournalWriter(path) as journal:
        journal.append(event)


def moments() -> list[tuple[float, int, int, float | None]]:
    """Return time, trial, evaluation and value (None: the trial ends); three run at once, at different speeds."""
    found: list[tuple[float, int, int, float | None]] = []
    for number, values in enumerate(CURVES):
        begin, pace = 40.0 * (number // 3) + number, 2.0 + 0.9 * (number % 3)
        rows: Sequence[float | None] = [*values, None]
        found += [(begin + pace * index, number, index, value) for index, value in enumerate(rows, 1)]
    return sorted(found, key=lambda moment: moment[:2])


def replayed(settings: PrunerSettings) -> dict[int, int | None]:
    histories = []
    for number in range(len(CURVES)):
        own = [moment for moment in moments() if moment[1] == number]
        told = [Evaluation(time, 10 * index - 1, value) for time, _, index, value in own if value is not None]
        histories.append(History(number=number, evaluations=told, last_step=10**6, ended=own[-1][0]))
    return pruners.stop_steps(settings, histories, maximize=True)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.name)
@pytest.mark.parametrize("seed", range(3))
def test_live_decisions_equal_those_of_a_replay_after_any_takeover(
    tmp_path: Path, settings: PrunerSettings, seed: int
) -> None:
    """Report at random moments, so that several values arrive at once, and replace the orchestrator between them."""
    chance = random.Random(seed)
    recorded = RecordedTrials(tmp_path, len(CURVES))
    pruners = recorded.pruners(settings)
    for time, number, index, value in moments():
        if value is None:
            recorded.report(pruners)  # an end is ordered among the values by when it is read
            recorded.end(number)
            recorded.report(pruners)
        else:
            recorded.measure(number, index, value, time=time)
        if chance.random() < 0.5:
            recorded.report(pruners)
        if chance.random() < 0.2:
            recorded.report(pruners)
            pruners = recorded.pruners(settings)
    expected = {number: step for number, step in replayed(settings).items() if step is not None}
    assert expected
    assert {number: decision.step for number, decision in pruners.decisions.items()} == expected
    assert recorded.pruners(settings).decisions == pruners.decisions


def test_a_decision_names_the_values_it_was_compared_with(tmp_path: Path) -> None:
    recorded = RecordedTrials(tmp_path, 3)
    pruners = recorded.pruners(config.Median(n_startup_trials=1))
    for number, value in enumerate([0.9, 0.5, 0.3]):
        recorded.measure(number, 1, value)
        if number < 2:
            recorded.end(number)
        recorded.report(pruners)
    decision = pruners.decisions[2]
    assert (decision.rule, decision.step) == ("median", 9)
    assert decision.reason == (
        "accuracy of 0.3 at evaluation 1: 2 of 2 siblings were better at that evaluation (their median is 0.7)"
    )
    assert decision.evidence["siblings_better"] == 2
    assert decision.evidence["best_of_siblings"] == 0.9
    assert decision.version.startswith("median-")


def test_a_value_repeated_by_a_retry_is_not_reported_again(tmp_path: Path) -> None:
    recorded = RecordedTrials(tmp_path, 2)
    pruners = recorded.pruners(config.OneEpoch(reduction_factor=2))
    recorded.measure(0, 1, 0.5)
    recorded.report(pruners)
    recorded.start(recorded.trials[0], attempt=2)  # it had saved nothing
    recorded.measure(0, 1, 0.9, attempt=2)
    recorded.report(pruners)
    recorded.measure(1, 1, 0.7)
    recorded.report(pruners)
    assert not pruners.decisions  # 0.7 is better than 0.5


def test_no_trial_is_compared_with_an_audited_trial_after_it_was_flagged(tmp_path: Path) -> None:
    recorded = RecordedTrials(tmp_path, 2)
    pruners = recorded.pruners(config.Median(n_startup_trials=0, n_warmup_steps=1))
    recorded.measure(0, 1, 0.2)
    append(
        recorded.trials[0].control,
        Continued(attempt=1, cause=AUDITED, decision=Decision.read({"rule": "stalled"}), value=0.2),
    )
    recorded.report(pruners)
    recorded.measure(0, 2, 0.9)
    recorded.end(0)
    recorded.measure(1, 1, 0.3)
    recorded.measure(1, 2, 0.4)
    recorded.report(pruners)
    assert not pruners.decisions


def test_without_pruners_nothing_is_written(tmp_path: Path) -> None:
    recorded = RecordedTrials(tmp_path, 1)
    pruners = SweepPruners.of(recorded.run, METRIC, EarlyStop())
    recorded.measure(0, 1, 0.5)
    recorded.report(pruners)
    assert not recorded.run.search.exists()


def test_a_derived_trial_is_not_compared_and_nothing_is_compared_with_it(tmp_path: Path) -> None:
    sweep = RecordedTrials(tmp_path, 3)
    facts = sweep.run.trial(1).facts
    write_json(facts, {**read_json(facts), "derived": {"parent": 0}})
    sweep.followers = [Follower.of(trial, []) for trial in sweep.trials]
    pruners = sweep.pruners(config.Median(n_startup_trials=1))
    for number in range(3):
        sweep.measure(number, 1, 0.5, time=float(number))
    sweep.report(pruners)
    reported = [event.trial for event in read_journal(sweep.run.search) if isinstance(event, Evaluated)]
    assert reported == [0, 2]
