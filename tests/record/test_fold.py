"""The state of a trial is a function of its records, in whatever order they came to be written and read."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.events import (
    PERSON,
    Checkpointed,
    Event,
    Exit,
    Finished,
    Held,
    KillSent,
    Launched,
    Lost,
    Metrics,
    Observation,
    Plan,
    Released,
    Resumed,
    RetryGranted,
    Revived,
    Started,
    StopRequested,
    encode,
)
from sweeper.record.fold import Progress, Retry, State, control_of, fold, retry_of, state_of
from sweeper.record.storage.layout import TrialDir, write_json
from sweeper.record.trial import TrialReader, history, read_trial

LAUNCHED = Launched(attempt=1, slot="cpu 0")
PRUNED = StopRequested(attempt=1, cause="pruned", decision={"rule": "stalled"})
INTERRUPTED = StopRequested(attempt=1, cause="interrupted")
DONE = StopRequested(attempt=1, cause="converged", decision={"rule": "converged"})
BY_HAND = StopRequested(attempt=1, cause="pruned", decision={"rule": PERSON})
BY_HAND_0 = replace(BY_HAND, attempt=0)
HELD = Held(attempt=0)
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
        ([LAUNCHED, INTERRUPTED, BY_HAND], STOPPED, ended(), State.PRUNED),  # a person's word is the last
        ([LAUNCHED, PRUNED, Revived(attempt=1)], STOPPED, ended(), State.WAITING),
        ([LAUNCHED, PRUNED, Revived(attempt=1), BY_HAND], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, Revived(attempt=1), BY_HAND], STOPPED, ended(), State.PRUNED),  # spared while it ran
        ([LAUNCHED, BY_HAND, Revived(attempt=1), BY_HAND, Revived(attempt=1)], STOPPED, ended(), State.WAITING),
        ([HELD], [], {}, State.PAUSED),
        ([HELD, Released(attempt=0)], [], {}, State.WAITING),
        ([LAUNCHED, HELD, INTERRUPTED], STOPPED, {}, State.RUNNING),
        ([LAUNCHED, HELD, INTERRUPTED], STOPPED, ended(), State.PAUSED),
        ([LAUNCHED, HELD, INTERRUPTED], COMPLETED, ended(), State.COMPLETE),
        ([LAUNCHED, HELD, INTERRUPTED, Released(attempt=1)], STOPPED, ended(), State.WAITING),
        ([LAUNCHED, HELD, INTERRUPTED, BY_HAND], STOPPED, ended(), State.PRUNED),
        ([LAUNCHED, HELD, PRUNED, Revived(attempt=1)], STOPPED, ended(), State.WAITING),  # revived is released
        ([LAUNCHED, HELD], FAILED, ended(1), State.FAIL),
        ([LAUNCHED, HELD], [], ended(None, signal=9), State.PAUSED),
        ([LAUNCHED], STOPPED, ended(), State.WAITING),
        ([LAUNCHED], FAILED, ended(1), State.FAIL),
        ([LAUNCHED, RetryGranted(attempt=1)], FAILED, ended(1), State.WAITING),
        ([LAUNCHED, RetryGranted(attempt=1), Launched(attempt=2, slot="s")], FAILED, ended(1), State.RUNNING),
        ([LAUNCHED], [], ended(127), State.FAIL),
        ([LAUNCHED, Lost(attempt=1)], [], {}, State.WAITING),
        (launches(2), [], killed(2), State.WAITING),
        (launches(3), [], killed(3), State.FAIL),
        ([*launches(3), RetryGranted(attempt=3)], [], killed(3), State.WAITING),
        ([QUARTER], NO_MEMORY, ended(1), State.WAITING),  # it is run again alone
        ([replace(QUARTER, gpus=1.0)], NO_MEMORY, ended(1), State.FAIL),
        ([QUARTER], FAILED, ended(1), State.FAIL),
        ([LAUNCHED], NO_MEMORY, ended(1), State.FAIL),
        ([*launches(4), RetryGranted(attempt=3)], [], killed(4), State.WAITING),
    ],
)
def test_state_by_the_table(control: list[Event], history: list[Event], exits: dict[int, Exit], state: State) -> None:
    assert state_of(control_of(control), fold(history), exits) is state


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
        else:  # what is left of an attempt whose first line was damaged
            steps = draw(st.lists(st.integers(min_value=20, max_value=25), max_size=2))
            events += [Metrics(step=step, values={"loss": float(100 * number + step)}) for step in steps]
        files.append(events)
    return files


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
            queues = {
                trial.control: encode(Launched(attempt=number, slot="s")),
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
WISHES = [BY_HAND, HELD, Released(attempt=1), Revived(attempt=1)]


@given(st.lists(st.sampled_from([*CONTROL, *WISHES]), max_size=6))
def test_control_folded_in_two_parts_is_control_folded_at_once(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        assert control_of(events[cut:], control_of(events[:cut])) == control_of(events)


@given(st.lists(st.sampled_from([*CONTROL, *WISHES]), max_size=6))
def test_what_a_person_said_last_stands(events: list[Event]) -> None:
    """Of a trial whose attempt has ended, whatever was said before."""
    ends = [LAUNCHED, *events]
    exits = ended()
    assert state_of(control_of([*ends, BY_HAND]), fold(STOPPED), exits) is State.PRUNED
    assert state_of(control_of([*ends, Revived(attempt=1)]), fold(STOPPED), exits) is State.WAITING
    paused = state_of(control_of([*ends, Held(attempt=1)]), fold(STOPPED), exits)
    assert paused is (State.PRUNED if control_of(ends).is_condemned(1) else State.PAUSED)
    assert state_of(control_of([*ends, Released(attempt=1)]), fold(STOPPED), exits) is not State.PAUSED


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


def test_who_is_stopped_by_a_scheduler_and_saves_goes_on_as_often_as_that_happens() -> None:
    """A time limit is no failure: ten of them use up no retry."""
    control = control_of(launches(10))
    exits = {n: ended(0, attempt=n)[n] for n in range(1, 11)}
    history = [event for n in range(1, 11) for event in saved_and_stopped(n, 10 * n)]
    assert state_of(control, fold(history), exits) is State.WAITING
    assert retry_of(control, fold(history), exits, Retry()) == 0
    assert state_of(control, fold(history), exits, Retry(on=["oom"])) is State.FAIL


def test_who_is_stopped_by_a_scheduler_before_anything_is_saved_uses_up_a_retry() -> None:
    control = control_of(launches(3))
    exits = {n: ended(0, attempt=n)[n] for n in range(1, 4)}
    history = [event for n in range(1, 4) for event in (Started(pid=1, host="h", attempt=n), STOPPED[1])]
    assert state_of(control, fold(history), exits) is State.FAIL
