"""The state of a trial follows from its records, in whatever order they were written and read."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.attempt_history import AttemptHistory
from sweeper.record.decision import PERSON, Decision
from sweeper.record.events import (
    Checkpointed,
    Collected,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Lost,
    Metrics,
    Observation,
    Paused,
    Plan,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    Unpaused,
)
from sweeper.record.facts import RetryPolicy
from sweeper.record.progress import Progress, fold
from sweeper.record.reader import TrialReader, history, read_trial
from sweeper.record.storage.checksums import Damage
from sweeper.record.storage.codec import encode
from sweeper.record.storage.layout import TrialDir, write_json
from sweeper.record.trial import HistoryEntry, State, TrialRecord
from tests.record.trials import trial_of

LAUNCHED = Launched(attempt=1, slot="cpu 0")
PRUNED = StopRequested(attempt=1, cause="pruned", decision=Decision.read({"rule": "stalled"}))
INTERRUPTED = StopRequested(attempt=1, cause="interrupted")
DONE = StopRequested(attempt=1, cause="converged", decision=Decision.read({"rule": "converged"}))
BY_HAND = StopRequested(attempt=1, cause="pruned", decision=Decision.read({"rule": PERSON}))
BY_HAND_0 = replace(BY_HAND, attempt=0)
PAUSED = Paused(attempt=0)
COMPLETED = [Started(pid=1, host="h"), Finished(outcome="completed")]
STOPPED = [Started(pid=1, host="h"), Finished(outcome="stopped")]
FAILED = [Started(pid=1, host="h"), Finished(outcome="failed", error="ValueError: x")]
QUARTER = Launched(attempt=1, slot="gpu 0 #1", gpus=0.25)
NO_MEMORY = [
    Started(pid=1, host="h", attempt=1),
    Finished(outcome="failed", error="OutOfMemoryError: x", cause="cuda-oom"),
]


def ended(code: int | None = 0, *, signal: int | None = None, attempt: int = 1) -> dict[int, Exit]:
    cause = "killed" if signal else "error" if code else ""
    return {attempt: Exit(attempt=attempt, code=code, signal=signal, cause=cause, peak_memory_mb=1.0)}


def launches(count: int) -> list[Event]:
    return [Launched(attempt=n + 1, slot="s") for n in range(count)]


def killed(count: int) -> dict[int, Exit]:
    return {n + 1: ended(None, signal=9, attempt=n + 1)[n + 1] for n in range(count)}


@pytest.mark.parametrize(
    ("control", "history", "exits", "state"),
    [
        ([], [], {}, State.WAITING),
        ([LAUNCHED], [], {}, State.RUNNING),
        ([LAUNCHED], COMPLETED, {}, State.RUNNING),
        ([LAUNCHED], COMPLETED, ended(), State.COMPLETE),
        ([LAUNCHED], [], ended(), State.COMPLETE),
        ([LAUNCHED], COMPLETED, ended(1), State.FAIL),  # closed before the crash
        ([LAUNCHED], COMPLETED, ended(None, signal=9), State.COMPLETE),
        ([LAUNCHED, INTERRUPTED], COMPLETED, ended(1), State.COMPLETE),
        ([LAUNCHED, Launched(attempt=2, slot="s"), Lost(attempt=2)], COMPLETED, ended(1), State.WAITING),
        ([LAUNCHED, PRUNED], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, PRUNED], STOPPED, {}, State.RUNNING),
        ([LAUNCHED, PRUNED], [], ended(None, signal=15), State.PRUNED),
        ([LAUNCHED, PRUNED, KillSent(attempt=1)], [], ended(None, signal=9), State.PRUNED),
        ([LAUNCHED, PRUNED], COMPLETED, ended(), State.COMPLETE),
        ([LAUNCHED, DONE], STOPPED, ended(), State.COMPLETE),
        ([LAUNCHED, DONE], [], {}, State.RUNNING),
        ([LAUNCHED, PRUNED, Lost(attempt=1)], [], {}, State.PRUNED),
        ([LAUNCHED, INTERRUPTED], STOPPED, ended(), State.WAITING),
        ([LAUNCHED, INTERRUPTED], COMPLETED, ended(), State.COMPLETE),
        ([LAUNCHED, INTERRUPTED, PRUNED], STOPPED, ended(), State.WAITING),
        ([BY_HAND_0], [], {}, State.PRUNED),
        ([BY_HAND_0, Revived(attempt=0)], [], {}, State.WAITING),
        ([LAUNCHED, BY_HAND], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, BY_HAND], STOPPED, {}, State.RUNNING),
        ([LAUNCHED, INTERRUPTED, BY_HAND], STOPPED, ended(), State.PRUNED),  # a person's stop replaces an earlier one
        ([LAUNCHED, PRUNED, Revived(attempt=1)], STOPPED, ended(), State.WAITING),
        ([LAUNCHED, PRUNED, Revived(attempt=1), BY_HAND], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, Revived(attempt=1), BY_HAND], STOPPED, ended(), State.PRUNED),  # revived while it was running
        ([LAUNCHED, BY_HAND, Revived(attempt=1), BY_HAND, Revived(attempt=1)], STOPPED, ended(), State.WAITING),
        ([PAUSED], [], {}, State.PAUSED),
        ([PAUSED, Unpaused(attempt=0)], [], {}, State.WAITING),
        ([LAUNCHED, PAUSED, INTERRUPTED], STOPPED, {}, State.RUNNING),
        ([LAUNCHED, PAUSED, INTERRUPTED], STOPPED, ended(), State.PAUSED),
        ([LAUNCHED, PAUSED, INTERRUPTED], COMPLETED, ended(), State.COMPLETE),
        ([LAUNCHED, PAUSED, INTERRUPTED, Unpaused(attempt=1)], STOPPED, ended(), State.WAITING),
        ([LAUNCHED, PAUSED, INTERRUPTED, BY_HAND], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, PAUSED, PRUNED, Revived(attempt=1)], STOPPED, ended(), State.WAITING),  # reviving unpauses
        ([LAUNCHED, PAUSED], FAILED, ended(1), State.FAIL),
        ([LAUNCHED, PAUSED], [], ended(None, signal=9), State.PAUSED),
        ([LAUNCHED], STOPPED, ended(), State.WAITING),
        ([LAUNCHED], FAILED, ended(1), State.FAIL),
        ([LAUNCHED, RetryGranted(attempt=1)], FAILED, ended(1), State.WAITING),
        ([LAUNCHED, RetryGranted(attempt=1), Launched(attempt=2, slot="s")], FAILED, ended(1), State.RUNNING),
        ([LAUNCHED], [], ended(127), State.FAIL),
        ([LAUNCHED, Lost(attempt=1)], [], {}, State.WAITING),
        (launches(2), [], killed(2), State.WAITING),
        (launches(3), [], killed(3), State.FAIL),
        ([*launches(3), RetryGranted(attempt=3)], [], killed(3), State.WAITING),
        ([QUARTER], NO_MEMORY, ended(1), State.WAITING),  # the next attempt gets whole devices
        ([replace(QUARTER, gpus=1.0)], NO_MEMORY, ended(1), State.FAIL),
        ([QUARTER], FAILED, ended(1), State.FAIL),
        ([LAUNCHED], NO_MEMORY, ended(1), State.FAIL),
        ([*launches(4), RetryGranted(attempt=3)], [], killed(4), State.WAITING),
    ],
)
def test_state_by_the_table(control: list[Event], history: list[Event], exits: dict[int, Exit], state: State) -> None:
    assert trial_of(control, history, exits.values()).state is state


def test_nan_is_never_a_best_value() -> None:
    values = [0.5, math.nan, 0.7, math.inf, 0.6]
    progress = fold(Metrics(step=i, values={"a": value}) for i, value in enumerate(values))
    series = progress.metrics["a"]
    assert (series.high, series.high_step, series.low, series.last) == (0.7, 2, 0.5, 0.6)


def test_a_first_nan_does_not_hide_what_follows() -> None:
    progress = fold(Metrics(step=i, values={"a": value}) for i, value in enumerate([math.nan, 0.2]))
    assert progress.metrics["a"].high == 0.2


@st.composite
def attempts(draw: st.DrawFn) -> list[list[Event]]:
    """The event files of up to three attempts, the later ones resuming somewhere, or anew, or never starting."""
    files: list[list[Event]] = []
    for number in range(draw(st.integers(min_value=1, max_value=3))):
        events: list[Event] = []
        if draw(st.booleans()) or number == 0:
            events.append(Started(pid=number, host="h"))
            first = 0
            if number and draw(st.booleans()):
                first = draw(st.integers(min_value=0, max_value=8)) + 1
                events.append(Resumed(step=first - 1))
            events.append(Plan(total_steps=10))
            for step in range(first, first + draw(st.integers(min_value=0, max_value=5))):
                events.append(Metrics(step=step, values={"loss": float(100 * number + step)}))
                if draw(st.booleans()):
                    events.append(
                        Observation(step=step, row=step, reach=0.1 * number, update_ratio=0.1, learning_rate=0.1)
                    )
                if draw(st.booleans()):
                    events.append(Checkpointed(step=step, file="f"))
        else:  # what is left of an attempt with a damaged first line
            steps = draw(st.lists(st.integers(min_value=20, max_value=25), max_size=2))
            events += [Metrics(step=step, values={"loss": float(100 * number + step)}) for step in steps]
        files.append(events)
    return files


@st.composite
def collections(draw: st.DrawFn, attempt: int, written: int) -> list[Collected]:
    """Metrics that were collected about an attempt after some of the events that its worker wrote."""
    steps = st.integers(min_value=0, max_value=9)
    values = st.dictionaries(st.sampled_from(["loss", "other"]), st.floats(0, 1), min_size=1)
    afters = sorted(draw(st.lists(st.integers(min_value=0, max_value=written), max_size=4)))
    return [
        Collected(attempt=attempt, step=draw(steps), values=draw(values), file="f", offset=1, after=after)
        for after in afters
    ]


def make_trial(folder: Path) -> TrialDir:
    trial = TrialDir(folder / "0000")
    trial.path.mkdir()
    facts = {"number": 0, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": [], "metric": "loss"}
    write_json(trial.facts, {**facts, "maximize": True})
    return trial


@given(attempts(), st.data())
def test_any_interleaving_of_the_files_folds_to_the_same_trial(files: list[list[Event]], data: st.DataObject) -> None:
    """Bytes arrive in any portions, control and events in any order, attempts in theirs: the end is the same."""
    with tempfile.TemporaryDirectory() as folder:
        trial = make_trial(Path(folder))
        reader = TrialReader.open(trial)
        collected: list[Event] = []
        for number, events in enumerate(files, start=1):
            attempt = trial.attempt(number)
            attempt.path.mkdir(parents=True)
            control = [Launched(attempt=number, slot="s"), *data.draw(collections(number, len(events)))]
            queues = {
                trial.control: b"".join(map(encode, control)),
                attempt.events: b"".join(encode(event) for event in events),
            }
            while any(queues.values()):
                path = data.draw(st.sampled_from([path for path, left in queues.items() if left]))
                size = data.draw(st.integers(min_value=1, max_value=len(queues[path])))
                with path.open("ab") as file:
                    file.write(queues[path][:size])
                queues[path] = queues[path][size:]
                new = [entry.event for entry in reader.poll()]
                collected = new if reader.restarted else collected + new
        whole = read_trial(trial)
        assert repr(reader.trial.progress) == repr(whole.progress)
        assert [repr(e) for e in collected] == [repr(e) for e in history(trial.attempts())]


@given(attempts())
def test_an_attempt_takes_over_from_the_step_where_it_resumed(files: list[list[Event]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = make_trial(Path(folder))
        for number, events in enumerate(files, start=1):
            attempt = trial.attempt(number)
            attempt.path.mkdir(parents=True)
            attempt.events.write_bytes(b"".join(encode(event) for event in events))
        expected: dict[int, float] = {}
        for events in files:
            began = any(isinstance(event, Started) for event in events)
            if began and any(isinstance(event, Resumed | Metrics | Checkpointed) for event in events):
                resumed = next((event.step for event in events if isinstance(event, Resumed)), -1)
                expected = {step: value for step, value in expected.items() if step <= resumed}
            expected |= {event.step: event.values["loss"] for event in events if isinstance(event, Metrics)}
        seen = {e.step: e.values["loss"] for e in history(trial.attempts()) if isinstance(e, Metrics)}
        assert seen == expected


def test_an_attempt_that_died_before_it_resumed_takes_nothing_back(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    start = Started(pid=1, host="h")
    files: list[list[Event]] = [
        [start, *(Metrics(step=step, values={"loss": float(step)}) for step in range(5))],
        [start],
        [start, Resumed(step=3), Metrics(step=4, values={"loss": 40.0})],
    ]
    for number, events in enumerate(files, start=1):
        attempt = trial.attempt(number)
        attempt.path.mkdir(parents=True)
        attempt.events.write_bytes(b"".join(encode(event) for event in events))
    seen = [(e.step, e.values["loss"]) for e in history(trial.attempts()) if isinstance(e, Metrics)]
    assert seen == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]


CONTROL = [LAUNCHED, PRUNED, INTERRUPTED, KillSent(attempt=1), Lost(attempt=1)]
BY_PERSONS = [BY_HAND, PAUSED, Unpaused(attempt=1), Revived(attempt=1)]


@given(st.lists(st.sampled_from([*CONTROL, *BY_PERSONS]), max_size=6))
def test_events_taken_in_in_two_parts_give_the_same_trial(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        assert trial_of(events[:cut]).after(events[cut:]) == trial_of(events)


@given(st.lists(st.sampled_from([*CONTROL, *BY_PERSONS]), max_size=6))
def test_the_last_command_of_a_person_counts(events: list[Event]) -> None:
    """For a trial with an attempt that has ended, whatever was recorded before."""
    ends = [LAUNCHED, *events]

    def trial(*more: Event) -> TrialRecord:
        return trial_of([*ends, *more], STOPPED, ended().values())

    assert trial(BY_HAND).state is State.PRUNED
    assert trial(Revived(attempt=1)).state is State.WAITING
    assert trial(Paused(attempt=1)).state is (State.PRUNED if trial().newest.flagged else State.PAUSED)
    assert trial(Unpaused(attempt=1)).state is not State.PAUSED


def test_progress_folded_in_two_parts_is_progress_folded_at_once() -> None:
    events: list[Event] = [*STOPPED, Resumed(step=4), Metrics(step=5, values={"loss": 1.0}), Plan(total_steps=9)]
    for cut in range(len(events) + 1):
        assert fold(events[cut:], fold(events[:cut], Progress())) == fold(events)


def saved_and_stopped(attempt: int, step: int) -> list[Event]:
    return [
        Started(pid=1, host="h", attempt=attempt),
        *([Resumed(step=step - 10)] if attempt > 1 else []),
        Checkpointed(step=step, file="b.pt"),
        Finished(outcome="stopped"),
    ]


def test_a_preempted_trial_resumes_any_number_of_times() -> None:
    """A time limit is not a failure: ten of them use up no retry."""
    exits = {n: ended(0, attempt=n)[n] for n in range(1, 11)}
    history = [event for n in range(1, 11) for event in saved_and_stopped(n, 10 * n)]
    trial = trial_of(launches(10), history, exits.values())
    assert trial.state is State.WAITING
    assert trial.retry_number == 0
    assert trial_of(launches(10), history, exits.values(), retry=RetryPolicy(on=("oom",))).state is State.FAIL


def test_a_trial_that_is_preempted_before_it_saves_uses_up_a_retry() -> None:
    exits = {n: ended(0, attempt=n)[n] for n in range(1, 4)}
    history = [event for n in range(1, 4) for event in (Started(pid=1, host="h", attempt=n), STOPPED[1])]
    assert trial_of(launches(3), history, exits.values()).state is State.FAIL


def collected_in(trial: TrialDir, name: str = "loss") -> list[tuple[int, float]]:
    events = history(trial.attempts())
    return [(e.step, e.values[name]) for e in events if isinstance(e, Metrics) and name in e.values]


def collect(trial: TrialDir, attempt: int, *steps: int, name: str = "loss", after: int = 0) -> None:
    trial.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
    with trial.control.open("ab") as file:
        for step in steps:
            values = {name: float(100 * attempt + step)}
            event = Collected(attempt=attempt, step=step, values=values, file="f", offset=1, after=after)
            file.write(encode(event))


def test_collected_metrics_stand_where_the_orchestrator_read_them(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    collect(trial, 1, 0, 5, after=2)
    events: list[Event] = [Started(pid=1, host="h"), *(Metrics(step=s, values={"loss": 0.0}) for s in range(3))]
    trial.attempt(1).events.write_bytes(b"".join(map(encode, events)))
    assert collected_in(trial) == [(0, 0.0), (0, 100.0), (5, 105.0), (1, 0.0), (2, 0.0)]


def test_a_retry_of_a_script_that_reports_nothing_supersedes_each_metric_from_its_first_step_on(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    collect(trial, 1, *range(4))
    collect(trial, 1, *range(4), name="epochs")
    collect(trial, 2, 2, 3)
    assert collected_in(trial) == [(0, 100.0), (1, 101.0), (2, 202.0), (3, 203.0)]
    assert collected_in(trial, "epochs") == [(0, 100.0), (1, 101.0), (2, 102.0), (3, 103.0)]


def test_a_worker_that_resumes_supersedes_what_was_collected_after_that_step(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    collect(trial, 1, *range(4))
    (trial.attempt(2).path).mkdir(parents=True)
    events: list[Event] = [Started(pid=1, host="h", attempt=2), Resumed(step=1)]
    trial.attempt(2).events.write_bytes(b"".join(map(encode, events)))
    assert collected_in(trial) == [(0, 100.0), (1, 101.0)]


def test_what_is_collected_while_a_history_is_read_anew_is_in_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(tmp_path)
    launches = [Launched(attempt=number, slot="s") for number in (1, 2)]
    trial.control.write_bytes(encode(launches[0]))
    collect(trial, 1, 0, 1)
    reader = TrialReader.open(trial)
    reader.poll()
    with trial.control.open("ab") as file:
        file.write(encode(launches[1]))
    collect(trial, 2, 0)
    original = AttemptHistory.read

    def read(self: AttemptHistory, collected: Sequence[Collected] = ()) -> list[HistoryEntry]:
        monkeypatch.setattr(AttemptHistory, "read", original)
        collect(trial, 2, 1)  # the orchestrator appends while this process reads
        return original(self, collected)

    monkeypatch.setattr(AttemptHistory, "read", read)
    seen = [entry.event for entry in reader.poll()]
    assert reader.restarted
    seen += [entry.event for entry in reader.poll()]
    assert seen == history(trial.attempts())


@pytest.mark.parametrize(
    ("torn", "state", "value"), [(True, State.WAITING, 0.5), (False, State.FAIL, None)], ids=["torn", "altered"]
)
def test_a_damaged_trial_does_not_wait_and_has_no_value(torn: bool, state: State, value: float | None) -> None:
    trial = trial_of(launches(1), [Started(pid=1, host="h"), Metrics(step=1, values={"m": 0.5})], killed(1).values())
    assert (trial.state, trial.value) == (State.WAITING, 0.5)
    where = trial.directory.attempt(1).events
    trial = replace(trial, damage=(Damage(file=where, line=2, what="it was altered", torn=torn),))
    assert (trial.state, trial.value, trial.undecided) == (state, value, not torn)
    assert (trial.damaged, len(trial.altered)) == (1, int(not torn))


def test_a_damaged_exit_takes_no_value_from_a_script_that_reported_its_end(tmp_path: Path) -> None:
    trial = make_trial(tmp_path)
    attempt = trial.attempt(1)
    attempt.path.mkdir(parents=True)
    trial.control.write_bytes(encode(Launched(attempt=1, slot="s")))
    events = [Started(pid=1, host="h"), Metrics(step=1, values={"loss": 0.5}), Finished(outcome="completed")]
    attempt.events.write_bytes(b"".join(map(encode, events)))
    attempt.exit.write_bytes(b"{")
    read = read_trial(trial)
    assert (read.state, read.value) == (State.COMPLETE, 0.5)
    assert [one.file for one in read.damage] == [attempt.exit]
    attempt.events.write_bytes(b"".join(map(encode, events[:2])))
    read = read_trial(trial)
    assert (read.state, read.newest.cause) == (State.FAIL, "damaged")
