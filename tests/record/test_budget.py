"""What a sweep has spent, by its record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeper.errors import RecordError
from sweeper.orchestrator.resources.usage import BudgetUsage
from sweeper.record.budget import BudgetLimits, Usage, exhausted, gpu_seconds, over_budget, wall_seconds
from sweeper.record.derivation import Derivation
from sweeper.record.events import Event, Exit, Launched, Metrics, SweepEnded, SweepStarted
from sweeper.record.objectives import Constraint
from sweeper.record.trial import TrialRecord
from tests.record.trials import entries_of, facts_of, trial_of


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
    queued_first = [trials[3], trials[2]]
    assert over_budget(BudgetLimits(trials=3), spending, queued_first) == {2}


def _measured(number: int, values: list[float], *, state: str = "RUNNING", maximize: bool = False) -> TrialRecord:
    """A trial with a value of its metric at each step."""
    control: list[Event] = [Launched(attempt=1, slot="cpu 0")]
    code = {"COMPLETE": 0, "FAIL": 1}.get(state)
    cause = "error" if code else ""
    exits = [] if code is None else [Exit(attempt=1, code=code, signal=None, cause=cause, peak_memory_mb=1)]
    metric = facts_of(number).metric
    history = [Metrics(step=step, values={metric: value}) for step, value in enumerate(values)]
    made = trial_of(control, history, exits, number=number)
    assert made.state.value == state
    return replace(made, facts=replace(made.facts, maximize=maximize))


@pytest.mark.parametrize(
    ("trials", "reached"),
    [
        ([], False),
        ([_measured(0, [3.0, 1.5, 2.0])], False),
        ([_measured(0, [3.0, 1.0, 2.0])], True),  # at any evaluation
        ([_measured(0, [float("nan"), float("-inf")])], False),
        ([_measured(0, [0.5], state="FAIL")], False),
        ([_measured(0, [0.5], state="FAIL"), _measured(1, [0.5], state="COMPLETE")], True),
        ([_measured(0, [0.5], maximize=True)], False),
        ([_measured(0, [0.5, 1.0, 0.1], maximize=True)], True),
    ],
)
def test_a_target_is_reached_by_the_best_value_of_a_trial_that_did_not_fail(
    trials: list[TrialRecord], reached: bool
) -> None:
    limits = BudgetLimits.read({"metric": {"name": "loss", "target": 1.0}, "budget": {"trials": 9}})
    assert limits == BudgetLimits(trials=9, target=1.0)
    usage = Usage.of(trials, [], now=0, running=False, limits=limits)
    assert exhausted(limits, usage) == (["the target of 1"] if reached else [])
    assert over_budget(limits, usage, [trial(7), trial(8)]) == ({7, 8} if reached else frozenset())


@pytest.mark.parametrize(("memory", "reached"), [((), False), ((20.0,), False), ((20.0, 16.0), True)])
def test_a_target_is_reached_by_a_trial_within_all_constraints_only(memory: tuple[float, ...], reached: bool) -> None:
    known = trial_of()
    bounded = replace(
        known, facts=replace(known.facts, maximize=False, constraints=(Constraint(name="memory", max=16),))
    )
    history = [Metrics(step=0, values={"m": 0.5}), *(Metrics(step=1, values={"memory": one}) for one in memory)]
    assert BudgetLimits(target=1.0).is_reached_by(bounded.with_history(entries_of(history))) is reached


def test_a_target_that_is_no_number_is_a_damaged_record() -> None:
    with pytest.raises(RecordError, match=r"spec.metric.target: expected a number, got 'a'"):
        BudgetLimits.read({"metric": {"target": "a"}})


def test_a_record_from_before_there_were_budgets_has_none() -> None:
    assert BudgetLimits.read({}) == BudgetLimits.read(None) == BudgetLimits.read({"budget": None}) == BudgetLimits()
    assert BudgetLimits.read({"budget": {"trials": 2, "hours": None, "gpu_hours": 0.5}}) == BudgetLimits(
        trials=2, gpu_hours=0.5
    )


def test_a_derived_trial_uses_hours_but_takes_no_trial_from_the_search() -> None:
    def derived(one: TrialRecord) -> TrialRecord:
        facts = replace(one.facts, configuration=-one.number, derived=Derivation(parent=0))
        return replace(one, facts=facts)

    trials = [trial(0, slot="gpu 0", end=3600), derived(trial(1, slot="gpu 0", end=3600)), derived(trial(2)), trial(3)]
    usage = Usage.of(trials, [], now=0.0, running=False)
    assert (usage.trials, usage.gpu_hours) == (1, 2.0)
    assert over_budget(BudgetLimits(trials=1), usage, trials[2:]) == {3}
    assert over_budget(BudgetLimits(gpu_hours=2), usage, trials[2:]) == {2, 3}
    population = replace(trials[1], facts=replace(trials[1].facts, configuration=1))
    assert Usage.of([population], [], now=0.0, running=False).trials == 1  # the search has proposed it
    measured = BudgetUsage(BudgetLimits(trials=5, gpu_hours=9), began=0.0)
    measured.update(trials)
    assert (measured.total([], 0.0).trials, measured.total([], 0.0).gpu_hours) == (1, 2.0)
