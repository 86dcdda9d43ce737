"""Why attempts ended, and whether the trial is run again: tables, and a policy that every sequence of ends obeys."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config.model.sweep import RetryCause as Named
from sweeper.config.model.sweep import RetrySettings as Declared
from sweeper.errors import RecordError
from sweeper.record.causes import Cause, cause_of_exit
from sweeper.record.events import (
    Abandoned,
    Event,
    Exit,
    Finished,
    KillSent,
    Launched,
    Lost,
    RetryGranted,
    Started,
    StopRequested,
)
from sweeper.record.facts import Facts, RetryPolicy
from sweeper.record.storage.layout import TrialDir, read_json, write_json
from sweeper.record.trial import State
from tests.record.trials import trial_of

FACTS = Facts(number=0, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)


@pytest.mark.parametrize(
    ("code", "number", "oom", "cause"),
    [
        (0, None, False, ""),
        (0, None, True, ""),
        (1, None, False, "error"),
        (1, None, True, "error"),
        (127, None, False, "not-found"),
        (126, None, False, "not-found"),
        (None, signal.SIGKILL, False, "killed"),
        (None, signal.SIGKILL, True, "oom"),
        (None, signal.SIGTERM, True, "killed"),
        (None, signal.SIGHUP, False, "killed"),
        (None, signal.SIGRTMIN + 1, False, "killed"),
        *((None, own, False, "error") for own in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)),
        *((None, own, False, "error") for own in (signal.SIGFPE, signal.SIGILL)),
        (128 + signal.SIGKILL, None, False, "killed"),  # a shell says so of its command
        (128 + signal.SIGKILL, None, True, "oom"),
        (128 + signal.SIGSEGV, None, False, "error"),
        (255, None, False, "error"),
    ],
)
def test_what_an_exit_says_of_its_cause(code: int | None, number: int | None, oom: bool, cause: str) -> None:
    assert cause_of_exit(code=code, signal=number, oom=oom) == cause


def left(attempt: int, cause: str, *, code: int | None = 1) -> Exit:
    return Exit(attempt=attempt, code=code, signal=None if code is not None else 9, cause=cause, peak_memory_mb=1)


def by(number: int) -> Exit:
    return Exit(attempt=1, code=None, signal=number, cause="killed", peak_memory_mb=1)


LAUNCHED = Launched(attempt=1, slot="a")
STOP = StopRequested(attempt=1, cause="interrupted")
HUNG = Abandoned(attempt=1, cause="hung", reason="no step")
STARTED = Started(pid=1, host="h", attempt=1)
FAILED = Finished(outcome="failed", error="ValueError: x")
NO_MEMORY = Finished(outcome="failed", error="OutOfMemoryError: x", cause="cuda-oom")
STOPPED = Finished(outcome="stopped")
COMPLETED = Finished(outcome="completed")


@pytest.mark.parametrize(
    ("control", "history", "ended", "cause"),
    [
        ([LAUNCHED], [STARTED], None, ""),
        ([LAUNCHED, HUNG], [STARTED], None, ""),
        ([LAUNCHED, HUNG], [STARTED], left(1, "killed", code=None), "hung"),
        ([LAUNCHED, HUNG, Lost(attempt=1)], [STARTED], None, "hung"),
        ([LAUNCHED, Lost(attempt=1)], [STARTED], None, "lost"),
        ([LAUNCHED], [STARTED, STOPPED], left(1, "", code=0), "stopped"),
        ([LAUNCHED], [STARTED, STOPPED], left(1, "error"), "stopped"),  # torchrun exits with 1 after a clean stop
        ([LAUNCHED], [STARTED, FAILED], left(1, "error"), "error"),
        ([LAUNCHED], [STARTED, FAILED], left(1, "", code=0), "error"),
        ([LAUNCHED], [STARTED, NO_MEMORY], left(1, "error"), "cuda-oom"),
        ([LAUNCHED], [STARTED, STOPPED], left(1, "cuda-oom"), "cuda-oom"),  # another rank's, and this one was stopped
        ([LAUNCHED], [STARTED, FAILED], left(1, "cuda-oom"), "cuda-oom"),
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "cuda-oom"), "cuda-oom"),
        ([LAUNCHED], [STARTED], left(1, "oom", code=None), "oom"),
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "", code=0), ""),
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "killed", code=None), ""),
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "error"), "error"),
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "error", code=None), ""),  # it crashed as it released its libraries
        ([LAUNCHED], [STARTED, COMPLETED], left(1, "error", code=128 + signal.SIGSEGV), ""),
        ([LAUNCHED, STOP], [STARTED, COMPLETED], left(1, "error"), ""),  # torchrun, which was asked to stop
        ([LAUNCHED, STOP], [], by(signal.SIGTERM), "stopped"),
        ([LAUNCHED, STOP], [], left(1, "killed", code=128 + signal.SIGTERM), "stopped"),
        ([LAUNCHED, STOP], [], left(1, "error"), "stopped"),
        ([LAUNCHED, STOP], [], left(1, "", code=0), "stopped"),
        ([LAUNCHED, STOP], [STARTED, FAILED], left(1, "error"), "error"),
        ([LAUNCHED, STOP], [], left(1, "not-found", code=127), "not-found"),
        ([LAUNCHED, STOP], [], Exit(attempt=1, code=None, signal=11, cause="error", peak_memory_mb=1), "error"),
        ([LAUNCHED, STOP, KillSent(attempt=1)], [], left(1, "killed", code=None), "killed"),
        ([LAUNCHED, STOP], [], left(1, "oom", code=None), "oom"),
        ([LAUNCHED], [], by(signal.SIGTERM), "killed"),
        ([LAUNCHED], [], replace(by(signal.SIGTERM), asked=True), "stopped"),  # by a signal to its supervisor
        ([LAUNCHED], [], replace(left(1, "", code=0), asked=True), "stopped"),  # and not complete
        ([LAUNCHED], [], replace(left(1, "error"), asked=True), "stopped"),
        ([LAUNCHED], [STARTED, FAILED], replace(left(1, "error"), asked=True), "error"),
        ([LAUNCHED], [STARTED, COMPLETED], replace(left(1, "", code=0), asked=True), ""),
        ([LAUNCHED], [STARTED, COMPLETED], replace(left(1, "error"), asked=True), ""),
        ([LAUNCHED, Lost(attempt=1)], [STARTED, COMPLETED], None, ""),
    ],
)
def test_cause_by_the_table(control: list[Event], history: list[Event], ended: Exit | None, cause: str) -> None:
    trial = trial_of(control, history, [] if ended is None else [ended])
    assert trial.newest.cause == cause


def test_the_outcome_of_an_earlier_attempt_is_not_that_of_a_later_one() -> None:
    control = [LAUNCHED, StopRequested(attempt=1, cause="interrupted"), Launched(attempt=2, slot="a")]
    trial = trial_of(control, [STARTED, STOPPED], [left(1, "", code=0), left(2, "error")])
    assert [attempt.cause for attempt in trial.attempts] == ["stopped", "error"]
    assert trial.state is State.FAIL


ENDS = st.lists(
    st.tuples(
        st.sampled_from(["killed", "lost", "hung", "oom", "cuda-oom", "not-found", "error", "stopped"]),
        st.sampled_from(["", "", "", "interrupted", "granted"]),
    ),
    min_size=1,
    max_size=8,
)
POLICIES = st.builds(
    RetryPolicy,
    max=st.integers(0, 4),
    on=st.lists(st.sampled_from(list(Named)), unique=True).map(lambda causes: tuple(cause.value for cause in causes)),
)


def record_of(ends: Sequence[tuple[str, str]]) -> tuple[list[Event], list[Event], dict[int, Exit]]:
    """Attempts that ended by these causes, one after the other; some asked to, some with a retry granted after them."""
    control: list[Event] = []
    history: list[Event] = []
    exits: dict[int, Exit] = {}
    for attempt, (cause, then) in enumerate(ends, start=1):
        control.append(Launched(attempt=attempt, slot="a"))
        if cause != "not-found":
            history.append(Started(pid=1, host="h", attempt=attempt))
        if then == "interrupted":
            control.append(StopRequested(attempt=attempt, cause="interrupted"))
        match cause:
            case "lost":
                control.append(Lost(attempt=attempt))
            case "hung":
                control.append(Abandoned(attempt=attempt, cause="hung", reason="no step"))
                exits[attempt] = left(attempt, "killed", code=None)
            case "cuda-oom":
                history.append(NO_MEMORY)
                exits[attempt] = left(attempt, "error")
            case "stopped":
                history.append(STOPPED)
                exits[attempt] = left(attempt, "", code=0)
            case other:
                exits[attempt] = left(attempt, other)
        if then == "granted":
            control.append(RetryGranted(attempt=attempt))
    return control, history, exits


@given(ENDS, POLICIES)
def test_every_end_keeps_its_cause_and_the_state_is_what_the_policy_says(
    ends: list[tuple[str, str]], retry: RetryPolicy
) -> None:
    events, history, exits = record_of(ends)
    trial = trial_of(events, history, exits.values(), retry=retry)
    obeyed = [("error", "interrupted")]  # an exit code after a stop is no error
    assert [attempt.cause for attempt in trial.attempts] == ["stopped" if one in obeyed else one[0] for one in ends]
    # The same, said differently: walk the ends and keep count.
    count, state = 0, State.WAITING
    for cause, then in ends:
        named = "killed" if cause == "stopped" else cause
        if then == "granted":
            count, state = 0, State.WAITING
        elif then == "interrupted":
            state = State.WAITING
        elif named in retry.on:
            count += 1
            state = State.WAITING if count <= retry.max else State.FAIL
        else:
            state = State.FAIL
    assert trial.state is state
    last, asked = ends[-1]
    counted = not asked and ("killed" if last == "stopped" else last) in retry.on
    assert trial.retry_number == (count if counted else 0)


@given(ENDS, POLICIES)
def test_more_retries_never_fail_a_trial_that_fewer_let_go_on(ends: list[tuple[str, str]], retry: RetryPolicy) -> None:
    events, history, exits = record_of(ends)
    more = RetryPolicy(max=retry.max + 1, on=retry.on)
    if trial_of(events, history, exits.values(), retry=retry).state is State.WAITING:
        assert trial_of(events, history, exits.values(), retry=more).state is State.WAITING


def test_the_policy_is_in_the_facts_and_older_facts_have_the_defaults(tmp_path: Path) -> None:
    trial = TrialDir(tmp_path / f"{FACTS.number:04d}")
    trial.path.mkdir()
    retry = RetryPolicy(max=5, on=("error", "oom"), backoff_s=2.5)
    write_json(trial.facts, {**asdict(FACTS), "retry": asdict(retry)})
    assert Facts.read(trial).retry == retry
    older = {key: value for key, value in read_json(trial.facts).items() if key != "retry"}
    write_json(trial.facts, older)
    assert Facts.read(trial).retry == RetryPolicy()
    write_json(trial.facts, {**older, "retry": {"max": "many"}})
    with pytest.raises(RecordError, match=r"expected max, a list on, and backoff_s, got \{'max': 'many'\}"):
        Facts.read(trial)


def test_the_file_and_the_record_use_the_same_words_and_defaults() -> None:
    assert {cause.value for cause in Named} == {cause.value for cause in Cause} - {Cause.STOPPED, Cause.DAMAGED}
    declared = Declared().model_dump(mode="json")
    assert RetryPolicy.read(declared) == RetryPolicy()
