"""What a sweep has spent, by its record."""

from __future__ import annotations

import pytest

from sweeper.record.budget import BudgetLimits, Usage, exhausted, gpu_seconds, over_budget, wall_seconds
from sweeper.record.events import Event, Exit, Launched, SweepEnded, SweepStarted
from sweeper.record.trial import TrialRecord
from tests.record.trials import trial_of


def trial(
    number: int, *, slot: str = "", begin: float = 0.0, end: float | None = None, lost: bool = False
) -> TrialRecord:
    """A trial that waits; with a slot one that runs, with an end one that has ended: well, or killed by others."""
    control = [Launched(attempt=1, slot=slot, time=begin)] if slot else []
    code, cause = (None, "killed") if lost else (0, "")
    ended = [] if end is None else [Exit(attempt=1, code=code, signal=None, cause=cause, peak_memory_mb=1, time=end)]
    return trial_of(control, exits=ended, number=number)


def started(time: float) -> SweepStarted:
    return SweepStarted(pid=1, host="h", profile="", slots=("cpu 0",), time=time)


def test_hours_count_all_calls_and_a_killed_one_until_its_last_word() -> None:
    ended = SweepEnded(outcome="interrupted", seconds=100.0, time=1e9)  # its own clock counts, not the wall's
    assert wall_seconds([started(10), ended], [], None) == 100
    trials = [trial(0, slot="cpu 0", begin=2000, end=2040), trial(1, slot="cpu 0", begin=5010)]
    log: list[Event] = [started(10), ended, started(2000), started(5000)]
    assert wall_seconds(log, trials, None) == 100 + 40 + 10
    assert wall_seconds(log, trials, 5500) == 100 + 40 + 500
    assert wall_seconds([], trials, 5500) == 0


def test_gpu_hours_are_seconds_times_gpus() -> None:
    trials = [trial(0, slot="gpu 0+1", end=100), trial(1, slot="gpu 2"), trial(2, slot="cpu 0", end=999), trial(3)]
    assert gpu_seconds(trials, 50) == 2 * 100 + 50


def test_a_part_of_a_gpu_is_paid_for_in_part() -> None:
    quarter = trial_of([Launched(attempt=1, slot="gpu 0 #1", gpus=0.25)])
    assert gpu_seconds([quarter], 100) == 25


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (BudgetLimits(), []),
        (BudgetLimits(trials=2), ["the budget of 2 trials"]),
        (BudgetLimits(trials=3, hours=1.5), []),
        (BudgetLimits(hours=1), ["the budget of 1 hour"]),
        (BudgetLimits(gpu_hours=0.5, hours=0.25), ["the budget of 0.25 hours", "the budget of 0.5 GPU hours"]),
    ],
)
def test_what_is_spent_is_said_in_words(budget: BudgetLimits, words: list[str]) -> None:
    trials = [trial(0, slot="gpu 0", end=3600), trial(1, slot="gpu 1", end=10), trial(2)]
    assert exhausted(budget, Usage.of(trials, [started(0)], now=3600, running=True)) == words


def test_time_bars_every_waiting_trial_and_trials_only_those_never_started() -> None:
    killed = trial(1, slot="cpu 0", end=10, lost=True)
    assert killed.state.value == "WAITING"
    trials = [trial(0, slot="cpu 0"), killed, trial(2), trial(3)]

    spending = Usage.of(trials, [started(0)], now=3600, running=True)

    def numbers(budget: BudgetLimits) -> set[int]:
        return set(over_budget(budget, spending, trials[1:]))

    assert numbers(BudgetLimits(hours=1)) == {1, 2, 3}
    assert numbers(BudgetLimits(hours=1.1)) == set()
    assert numbers(BudgetLimits(trials=3)) == {3}
    assert numbers(BudgetLimits(trials=1)) == {2, 3}


def test_a_record_from_before_there_were_budgets_has_none() -> None:
    assert BudgetLimits.read({}) == BudgetLimits.read(None) == BudgetLimits.read({"budget": None}) == BudgetLimits()
    assert BudgetLimits.read({"budget": {"trials": 2, "hours": None, "gpu_hours": 0.5}}) == BudgetLimits(
        trials=2, gpu_hours=0.5
    )
