"""The order of the ranking, and the counts below it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from sweeper.orchestrator.search.results import why_failed
from sweeper.record.budget import BudgetLimits
from sweeper.record.events import Diagnosed, Exit, Launched, Metrics
from sweeper.record.trial import TrialRecord
from sweeper.results.comparison.configurations import configuration_results
from sweeper.results.health.trial_health import counts_text
from sweeper.results.ranking import end_text, ranked, significance_text
from sweeper.results.snapshot import SweepView
from tests.record.trials import trial_of


def trial(number: int, value: float | None, *, diagnosis: str = "", ended: bool = False, code: int = 0) -> TrialRecord:
    """A trial with one value of its metric, to be minimized; a diagnosis that holds, or that has ended again."""
    times = [True, False] if ended else [True]
    found = [
        Diagnosed(attempt=1, diagnosis=diagnosis, since=1, step=step, holds=holds, reason="r", evidence={})
        for step, holds in enumerate(times, 5)
        if diagnosis
    ]
    exited = Exit(attempt=1, code=code, signal=None, cause="error" if code else "", peak_memory_mb=1)
    history = [] if value is None else [Metrics(step=1, values={"m": value})]
    made = trial_of([Launched(attempt=1, slot="cpu 0"), *found], history, [exited], number=number)
    return replace(made, facts=replace(made.facts, maximize=False, configuration=number))


FINITE = [trial(0, 0.7), trial(1, 0.3), trial(2, None), trial(3, 0.9, diagnosis="vanishing_gradient")]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("fake", [0.0, 0.5, 2.0])
def test_a_trial_that_was_not_finite_ranks_behind_every_trial_that_was(fake: float, ended: bool) -> None:
    """A loop that reports 0 for a loss that is NaN would otherwise be the best."""
    wrong = trial(4, fake, diagnosis="non_finite", ended=ended)
    for order in itertools.permutations([*FINITE, wrong]):
        assert [one.facts.number for one in ranked(order)] == [1, 0, 3, 4, 2]
    assert [one.trials[0].facts.number for one in configuration_results([*FINITE, wrong])] == [1, 0, 3, 4, 2]
    assert "best m 0.3 of 0001" in end_text("complete", [*FINITE, wrong])


def test_a_search_learns_nothing_from_its_value_and_it_reaches_no_target() -> None:
    wrong = trial(4, 0.0, diagnosis="non_finite")
    assert why_failed(wrong) == "non_finite"
    assert why_failed(trial(1, 0.3)) == ""
    assert not BudgetLimits(target=0.1).is_reached_by(wrong)
    assert BudgetLimits(target=0.1).is_reached_by(trial(4, 0.0))


def test_a_trial_that_failed_is_not_counted_as_ok() -> None:
    trials = [trial(0, 0.5), trial(1, 0.5, code=1), trial(2, 0.1, diagnosis="non_finite", code=1)]
    assert counts_text(trials) == "1 ok, 1 non_finite, 1 failed"


def test_a_trial_that_failed_before_it_logged_a_metric_counts_as_failed() -> None:
    nothing = trial(1, None, code=1)
    assert counts_text([trial(0, 0.5), nothing]) == "1 ok, 1 failed"
    assert counts_text([nothing]) == "1 failed"


def test_more_seeds_are_only_advised_where_there_is_a_ranking_and_seeds_are_possible() -> None:
    def advice(*trials: TrialRecord) -> str:
        sweep = SweepView(name="s", state="COMPLETE", trials=trials, total=2, slots=(), now=1.0, started=0.0)
        return significance_text(sweep)

    two = [trial(0, 0.5), trial(1, 0.4)]
    assert "Add more" in advice(*two)
    assert advice(trial(0, 0.5, code=1), trial(1, 0.4, code=1)) == ""
    members = [replace(one, facts=replace(one.facts, until=25)) for one in two]
    assert advice(*members) == ""
