"""The collector reads running trials at a pace, and every attempt to the end of its files before its end counts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sweeper.config import EarlyStop, NonFinite
from sweeper.orchestrator.collect.collector import EVERY_S, ROUND_S, Collector
from sweeper.orchestrator.io.inotify import AttemptWatcher
from sweeper.orchestrator.trials import Trials
from sweeper.record.events import Event, Exit, Launched, Lost, Metrics, Started
from sweeper.record.reader import TrialReader
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.trial import State, TrialRecord
from sweeper.rules import first_decision, rules_of
from sweeper.rules.rule import Rule
from tests.orchestrator.collect.sources import metrics_of
from tests.views.synthetic import make_trial

SOURCES = metrics_of(loss={"output": "loss (.+)"}).metrics


class Bench:
    """Trials of a sweep, a collector over them, and a clock that a test moves."""

    def __init__(self, folder: Path, count: int = 1, rules: Sequence[Rule] = ()) -> None:
        self.now, self.rules = 0.0, rules
        self.directories = [make_trial(SweepDir(folder), number) for number in range(count)]
        self.trials = Trials(rules, AttemptWatcher(), clock=lambda: self.now)
        for directory in self.directories:
            control(directory, Launched(attempt=1, slot="s"))
            directory.attempt(1).path.mkdir(parents=True)
        self.collector = Collector(SOURCES, self.trials, self.record, clock=self.read_clock)
        self.cost = 0.0
        self.recorded: list[int] = []
        self.trials.follow([TrialReader.open(directory) for directory in self.directories])
        self.trials.changes()

    def read_clock(self) -> float:
        self.now += self.cost
        return self.now

    def record(self, trial: TrialRecord, events: Sequence[Event]) -> None:
        self.recorded.append(trial.number)
        control(trial.directory, *(replace(event, time=time.time()) for event in events))
        self.trials.poll(trial.number)

    def tick(self, seconds: float = 2 * EVERY_S) -> None:
        self.now += seconds
        self.trials.refresh()
        self.collector.collect()

    def losses(self, number: int = 0) -> list[tuple[int, float]]:
        events = [entry.event for entry in TrialReader.open(self.directories[number]).poll()]
        return [(event.step, event.values["loss"]) for event in events if isinstance(event, Metrics)]


def control(directory: TrialDir, *events: Event) -> None:
    with JournalWriter(directory.control) as journal:
        journal.extend(events)


def prints(directory: TrialDir, text: str, attempt: int = 1) -> None:
    directory.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    with directory.attempt(attempt).output.open("a") as file:
        file.write(text)


def ends(directory: TrialDir, attempt: int = 1, code: int = 0) -> None:
    exit_ = Exit(attempt=attempt, code=code, signal=None, cause="error" if code else "", peak_memory_mb=1.0)
    directory.attempt(attempt).exit.write_bytes(encode(exit_))


def test_a_running_trial_is_read_at_a_pace(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    prints(bench.directories[0], "loss 1\n")
    bench.tick()
    prints(bench.directories[0], "loss 2\n")
    bench.tick(EVERY_S / 4)
    assert bench.losses() == [(0, 1.0)]
    bench.tick()
    assert bench.losses() == [(0, 1.0), (1, 2.0)]


def test_an_attempt_that_ended_is_read_before_the_change_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.tick()
    prints(bench.directories[0], "loss 1\nloss 2")
    ends(bench.directories[0])
    bench.tick(0.0)
    (trial,) = bench.trials.changes()
    assert trial.state is State.COMPLETE
    assert trial.progress.metrics["loss"].last == 2.0
    bench.tick()
    assert bench.recorded == [0]


def test_an_attempt_that_was_lost_is_read_to_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    prints(bench.directories[0], "loss 3")
    control(bench.directories[0], Lost(attempt=1))
    bench.trials.poll(0)
    bench.tick(0.0)
    assert bench.losses() == [(0, 3.0)]


def test_each_attempt_is_read_to_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for attempt in (1, 2):
        if attempt > 1:
            control(bench.directories[0], Launched(attempt=attempt, slot="s"))
        prints(bench.directories[0], f"loss {attempt}", attempt)
        bench.trials.poll(0)
        bench.tick()
        ends(bench.directories[0], attempt, code=1)
        bench.trials.poll(0)
        bench.tick()
        bench.trials.changes()
    assert bench.losses() == [(0, 2.0)]
    assert bench.recorded == [0, 0]


def test_a_round_over_many_trials_is_bounded_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    bench = Bench(tmp_path, count=4)
    for directory in bench.directories:
        prints(directory, "loss 1\n")
    bench.cost = ROUND_S * 0.4  # two trials a round
    bench.tick()
    assert bench.recorded == [0, 1]
    bench.tick(100 * ROUND_S)
    assert bench.recorded == [0, 1, 2, 3]


def test_collected_metrics_follow_the_events_that_were_read_and_have_the_newest_optimizer_step(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    own = [Started(pid=1, host="h", attempt=1), Metrics(step=40, values={"own": 9.0})]
    bench.directories[0].attempt(1).events.write_bytes(b"".join(map(encode, own)))
    prints(bench.directories[0], "loss 1\n")
    bench.tick()
    prints(bench.directories[0], "loss 2\n")
    with bench.directories[0].attempt(1).events.open("ab") as file:
        file.write(encode(Metrics(step=41, values={"own": 8.0})))
    bench.tick()
    events = [entry.event for entry in TrialReader.open(bench.directories[0]).poll()]
    seen = [(event.step, dict(event.values)) for event in events if isinstance(event, Metrics)]
    assert seen == [(40, {"own": 9.0}), (40, {"loss": 1.0}), (41, {"own": 8.0}), (41, {"loss": 2.0})]


def test_a_metric_that_the_script_reports_itself_is_not_collected_and_that_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    own = [Started(pid=1, host="h", attempt=1), Metrics(step=40, values={"loss": 9.0})]
    bench.directories[0].attempt(1).events.write_bytes(b"".join(map(encode, own)))
    prints(bench.directories[0], "loss 1\n")
    bench.tick()
    assert bench.losses() == [(40, 9.0)]
    assert [one.problem for one in bench.trials[0].noticed] == [
        "the script reports it itself, so its source is not used"
    ]


def test_a_rule_decides_the_same_in_a_replay(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rules=rules_of(EarlyStop(rules=(NonFinite(),))))
    own = [Started(pid=1, host="h", attempt=1), *(Metrics(step=step, values={"x": 1.0}) for step in range(40))]
    decision = None
    for number, event in enumerate(own):
        with bench.directories[0].attempt(1).events.open("ab") as file:
            file.write(encode(event))
        prints(bench.directories[0], f"loss {'nan' if number > 20 else number}\n")
        bench.tick()
        decision = decision or bench.trials.followers[0].decision
    events = [entry.event for entry in TrialReader.open(bench.directories[0]).poll()]
    (rule,) = bench.rules
    assert decision is not None
    assert decision == first_decision(rule, events)
    assert "loss" in decision.reason


def test_a_trial_that_lacks_a_metric_is_read_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert not bench.collector.has_all(bench.trials[0])
    prints(bench.directories[0], "loss 1\n")
    bench.tick()
    assert bench.collector.has_all(bench.trials[0])


def test_without_sources_nothing_is_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    prints(bench.directories[0], "loss 1\n")
    Collector({}, bench.trials, bench.record).collect()
    assert bench.recorded == []


def test_names_in_files_are_noticed_where_the_metric_of_the_sweep_is_missing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.collector = Collector({}, bench.trials, bench.record, clock=bench.read_clock)
    (bench.directories[0].path / "results.csv").write_text("epoch,acc\n1,0.5\n")
    ends(bench.directories[0])
    bench.tick()
    (first, names) = bench.trials[0].noticed
    assert (first.place, names.names) == ("csv **/*.csv", ("epoch", "acc"))
    assert bench.losses() == []
    bench.tick()
    assert len(bench.recorded) == 1
