"""When the first trials cannot run at all, the others are held; when a trial works, they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from sweeper.orchestrator.caution import SOON_S, Caution
from sweeper.record.events import Event, Exit, Launched, Metrics, StopRequested
from sweeper.record.trial import State, TrialRecord
from tests.record.trials import trial_of

BEGAN = 1000.0
MISSING = "error (exit code 1); its last output: ModuleNotFoundError: No module named 'torch'"


def trial(
    number: int,
    shown: Mapping[str, object],
    *,
    control: Sequence[Event] = (),
    exits: Sequence[Event] = (),
    history: Sequence[Event] = (),
) -> TrialRecord:
    made = trial_of(control, history, exits, number=number)
    return replace(made, facts=replace(made.facts, shown=dict(shown)))


def failed(number: int, *, cause: str = "error", code: int = 1, at: float = BEGAN, **shown: object) -> TrialRecord:
    exited = Exit(attempt=1, code=code, signal=None, cause=cause, peak_memory_mb=1, time=at + 1)
    return trial(number, shown, control=[Launched(attempt=1, slot="cpu 0", time=at)], exits=[exited])


def running(number: int, *, step: int | None = None, **shown: object) -> TrialRecord:
    history = [] if step is None else [Metrics(step=step, values={"m": 1.0})]
    return trial(number, shown, control=[Launched(attempt=1, slot="cpu 0", time=BEGAN)], history=history)


def caution(*changed: TrialRecord, end: str = MISSING, now: float = BEGAN + 2) -> Caution:
    made = Caution(BEGAN, lambda _: end)
    made.update(changed, now)
    return made


def waiting(*shown: Mapping[str, object]) -> list[TrialRecord]:
    return [trial(10 + number, one) for number, one in enumerate(shown)]


def started(made: Caution, trials: Sequence[TrialRecord], running: Sequence[TrialRecord] = ()) -> list[int]:
    held = made.held(trials, running)
    return [one.facts.number for one in trials if one.facts.number not in held]


@pytest.mark.parametrize(
    ("cause", "code", "end"),
    [
        ("not-found", 127, "not-found"),
        ("error", 1, MISSING),
        ("error", 1, "ImportError: cannot import name 'x' from 'y' (exit code 1)"),
        ("error", 2, "error (exit code 2)"),  # argparse, click, typer, fire
        ("error", 1, "FATAL Flags parsing error: Unknown command line flag 'd'"),
        ("error", 1, "Could not override 'd'."),
    ],
)
def test_after_a_wrong_start_one_other_trial_is_tried_and_then_none(cause: str, code: int, end: str) -> None:
    first, second = (failed(number, cause=cause, code=code, lr=number) for number in range(2))
    made = caution(first, end=end)
    trials = waiting({"lr": 2}, {"lr": 3})
    assert started(made, trials) == [10]
    assert started(made, trials, [running(5, lr=5)]) == []  # its outcome is awaited
    made.update([second], BEGAN + 3)
    assert started(made, trials) == []
    assert f"Held: 0000, 0001 failed at the start, and no trial has run: {end}. So 2 waiting trials" in made.text(2)


@pytest.mark.parametrize(
    "one",
    [
        failed(0, lr=0, cause="error"),  # an error of another kind
        failed(0, lr=0, cause="oom", code=137),
        failed(0, lr=0, cause="killed"),
        failed(0, lr=0, code=2, at=BEGAN - 500),  # in an earlier call
    ],
)
def test_other_ends_hold_nothing(one: TrialRecord) -> None:
    made = caution(one, end="RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert started(made, waiting({"lr": 1}, {"lr": 2})) == [10, 11]
    assert made.text(2) == ""


def test_a_trial_that_was_asked_to_stop_holds_nothing() -> None:
    control = [Launched(attempt=1, slot="a", time=BEGAN), StopRequested(attempt=1, cause="interrupted", decision=None)]
    exited = Exit(attempt=1, code=2, signal=None, cause="error", peak_memory_mb=1, time=BEGAN + 1)
    made = caution(trial(0, {"lr": 0}, control=control, exits=[exited]))
    assert started(made, waiting({"lr": 1}, {"lr": 2})) == [10, 11]


@pytest.mark.parametrize("works", [running(1, step=0, lr=1), failed(1, lr=1, cause="", code=0)])
def test_a_trial_that_works_releases_the_others(works: TrialRecord) -> None:
    made = caution(failed(0, lr=0))
    made.update([works], BEGAN + 5)
    trials = waiting({"lr": 2}, {"lr": 3})
    assert started(made, trials) == [10, 11]
    made.update([failed(2, lr=2)], BEGAN + 6)
    assert started(made, trials) == [10, 11]
    assert works.state in (State.RUNNING, State.COMPLETE)


def test_a_trial_that_runs_for_long_works_though_it_made_no_step() -> None:
    made = caution(failed(0, lr=0), running(1, lr=1))
    assert made.failed
    made.update([running(1, lr=1)], BEGAN + SOON_S)
    assert not made.failed


def test_the_trial_that_is_tried_differs_where_the_failed_ones_agree() -> None:
    made = caution(failed(0, optimizer="lion", lr=1), failed(1, optimizer="lion", lr=2))
    trials = waiting({"optimizer": "lion", "lr": 3}, {"optimizer": "adam", "lr": 1})
    assert started(made, trials) == [11]
    made.update([failed(2, optimizer="adam", lr=1)], BEGAN + 3)
    assert started(made, trials) == []


def test_a_search_proposes_one_more_after_the_first_failure() -> None:
    made = caution()
    assert made.may_propose([running(7)])
    made.update([failed(0, lr=0)], BEGAN + 2)
    assert made.may_propose([])
    assert not made.may_propose([running(7)])
    made.update([failed(1, lr=1)], BEGAN + 3)
    assert not made.may_propose([])
    assert "So no more trials are started;" in made.text(0)


def test_seeds_of_one_configuration_are_not_tried() -> None:
    made = caution(failed(0, lr=0))
    assert started(made, waiting({"lr": 0}, {"lr": 0})) == []


def test_steps_of_an_earlier_call_do_not_show_that_this_start_works() -> None:
    def resumed(number: int, step: int, *, ended: bool) -> TrialRecord:
        control = [Launched(attempt=1, slot="a", time=BEGAN - 900), Launched(attempt=2, slot="a", time=BEGAN)]
        exits = [Exit(attempt=1, code=None, signal=15, cause="killed", peak_memory_mb=1, time=BEGAN - 800)]
        if ended:
            exits += [Exit(attempt=2, code=1, signal=None, cause="error", peak_memory_mb=1, time=BEGAN + 1)]
        history = [Metrics(step=step, values={"m": 1.0})]
        return trial(number, {"lr": number}, control=control, exits=exits, history=history)

    trials = waiting({"lr": 2}, {"lr": 3})
    made = caution(resumed(0, 40, ended=True))
    assert started(made, trials) == [10]
    made.update([resumed(1, 40, ended=False)], BEGAN + 3)
    assert made.failed
    made.update([resumed(1, 41, ended=False)], BEGAN + 4)
    assert started(made, trials) == [10, 11]
