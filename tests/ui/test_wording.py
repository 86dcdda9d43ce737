"""The verdict in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sweeper.service.answers.sweep import Best, BudgetPart, Sweep
from sweeper.ui.pages import code, sentence, shown
from sweeper.ui.wording import best_line, classes, headline, outcome

SWEEP = Sweep(
    name="s",
    state="RUNNING",
    path="runs/s",
    metric="accuracy",
    maximize=True,
    objectives={"accuracy": "maximize"},
    verdict="",
    significance="",
    health="8 ok, 3 vanishing_gradient, 1 failed, 2 unknown",
    savings="",
    counts={"COMPLETE": 8, "PRUNED": 3, "FAIL": 1, "RUNNING": 2, "WAITING": 1986},
    total=2000,
    best=Best(number=3, value=0.91, values={"accuracy": 0.91}, params={"lr": 1e-3}),
    budget=(),
    slots=(),
    slots_in_use=0,
    started=0.0,
    now=1.0,
    seconds_left=7500.0,
    revision=1,
)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("RUNNING", "Running: 12 of 2,000 trials have ended; about 2h05m left."),
        ("PAUSED", "Paused: 12 of 2,000 trials have ended."),
        ("STOPPED", "Interrupted: 12 of 2,000 trials have ended. `sweeper run` resumes the sweep."),
        ("FAIL", "Ended with failures: 1 of 2,000 trials failed."),
        ("COMPLETE", "Finished: 8 of 2,000 trials completed."),
    ],
)
def test_the_headline_says_how_the_sweep_stands(state: str, expected: str) -> None:
    assert headline(replace(SWEEP, state=state)) == expected


@pytest.mark.parametrize(
    ("name", "begins", "key"),
    [("hours", "Budget spent", "budget.hours"), ("target", "Target reached", "metric.target")],
)
def test_a_limit_that_is_reached_is_no_interrupt(name: str, begins: str, key: str) -> None:
    budget = [
        BudgetPart(name=name, limit=1.0, used=1.0, spent=True),
        BudgetPart(name="trials", limit=None, used=12.0, spent=False),
    ]
    spent = replace(SWEEP, state="STOPPED", budget=budget, unstarted="The budget of 1 hour is spent: ...")
    change = f"To run the rest, change what is reached: `sweeper run FILE {key}=VALUE`."
    assert headline(spent) == f"{begins}: 12 of 2,000 trials have ended. {change}"
    assert headline(replace(spent, unstarted="")).startswith("Interrupted")


def test_a_sweep_without_trials_has_a_headline_too() -> None:
    assert headline(replace(SWEEP, total=0, counts={})) == "No trial has started yet."
    assert headline(replace(SWEEP, total=0, counts={}, state="COMPLETE")) == "This run has no trials."
    assert "2,000 trials have ended." in headline(replace(SWEEP, seconds_left=None))


def test_what_became_of_the_trials() -> None:
    assert outcome(SWEEP) == "8 complete, 3 stopped early, 1 failed, 2 running."
    assert outcome(replace(SWEEP, counts={"WAITING": 4})) == ""


def test_the_best_is_named_with_its_value() -> None:
    assert best_line(SWEEP) == "accuracy 0.91"
    assert best_line(replace(SWEEP, best=None)) == ""
    two = {"accuracy": "maximize", "time": "minimize"}
    assert best_line(replace(SWEEP, objectives=two, front=(3, 5))).startswith("2 trials on the Pareto front")


def test_each_health_has_a_filter_that_finds_it() -> None:
    found = [(one.name, one.count, one.begins, one.tone) for one in classes(SWEEP)]
    assert found == [
        ("ok", 8, "ok", "good"),
        ("vanishing", 3, "vanishing", "bad"),
        ("failed", 1, "", "bad"),
        ("not observed", 2, "-", "plain"),
    ]
    assert classes(replace(SWEEP, health="")) == []


def test_text_is_shown_as_it_is_but_for_what_hides() -> None:
    assert shown("lr=0.1") == "lr=0.1"
    assert shown("a\u202eb") == "a?b"
    assert code("run `a<b` now") == "run <code>a&lt;b</code> now"
    assert sentence("stopped by a rule") == "Stopped by a rule."
    assert sentence("") == ""
