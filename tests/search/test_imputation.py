"""Trials that failed because of their parameters count as the worst so far, and a search stays away from them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.config import SweepSpec
from sweeper.record.objectives import Objective
from sweeper.search import Configuration, search_for
from sweeper.search.imputation import Worst, imputed, worst_of
from sweeper.search.optuna_search import count_good

SAMPLERS = ["random", "bayes", "tpe", "gp", "cmaes", "qmc", "nsga2"]
LEARNING = ["bayes", "tpe", "gp", "cmaes", "nsga2"]
LIMIT = 1e-2


def spec(method: str, name: str = "s") -> SweepSpec:
    lr = {"min": 1e-5, "max": 10.0, "distribution": "log_uniform_values"}
    metric = {"name": "m"}
    return SweepSpec.from_json(
        {"name": name, "method": method, "metric": metric, "command": ["a"], "parameters": {"lr": lr}}
    )


def lr_of(configuration: Configuration) -> float:
    return float(str(configuration.params["lr"]))


def result(configuration: Configuration, failed: float = 1.0) -> Configuration:
    """Above the limit a trial diverges."""
    if lr_of(configuration) > LIMIT:
        return replace(configuration, state="FAIL", failed=failed)
    return replace(configuration, state="COMPLETE", value=(math.log10(lr_of(configuration)) + 3) ** 2)


def swept(
    method: str, count: int = 30, *, name: str = "s", failed: float = 1.0, delay: int = 0, resumed: bool = False
) -> list[Configuration]:
    """Run a sweep; results arrive `delay` proposals late. If resumed, each proposal has a new search."""
    search, seen = search_for(spec(method, name)), list[Configuration]()
    for number in range(count):
        if resumed:
            search = search_for(spec(method, name))
        proposed = search.propose(seen)
        assert proposed is not None
        seen.append(proposed)
        if number >= delay:
            seen[number - delay] = result(seen[number - delay], failed)
    return seen


def diverged(seen: Sequence[Configuration]) -> int:
    return sum(lr_of(one) > LIMIT for one in seen)


@pytest.mark.parametrize("method", ["bayes", "gp"])
def test_fewer_than_six_of_thirty_proposals_diverge_where_half_of_the_range_does(method: str) -> None:
    names = ["s0", "s1"]
    learned = [diverged(swept(method, name=name)) for name in names]
    ignored = [diverged(swept(method, name=name, failed=0.0)) for name in names]
    assert statistics.fmean(learned) < 6
    assert statistics.fmean(ignored) > 15, "or there is nothing to learn"


@pytest.mark.parametrize("delay", [0, 3], ids=["alone", "with three running"])
@pytest.mark.parametrize("method", SAMPLERS)
def test_a_resumed_sweep_with_failures_is_the_uninterrupted_one(method: str, delay: int) -> None:
    count = 14 if method == "gp" else 24
    resumed, whole = (swept(method, count, delay=delay, resumed=resumed) for resumed in (True, False))
    assert any(one.failed for one in whole)
    assert [one.params for one in resumed] == [one.params for one in whole]


@pytest.mark.parametrize("method", LEARNING)
def test_nothing_is_learned_from_failures_before_a_trial_has_a_value(method: str) -> None:
    """Else a sampler would take a failure for the best so far."""
    seen = [result(one) for one in swept(method, 40)]
    failures = [replace(one, number=i) for i, one in enumerate(one for one in seen if one.failed)]
    ignored = [replace(one, failed=0.0) for one in failures]
    search = search_for(spec(method))
    assert search.propose(failures) == search.propose(ignored)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_search_of_failures_alone_goes_on(method: str, share: float) -> None:
    value = None if share == 1 else 2.0
    seen = [replace(one, state="FAIL", failed=share, value=value) for one in swept(method, 12)]
    assert search_for(spec(method)).propose(seen) is not None


@pytest.mark.parametrize("method", ["random", "qmc"])
def test_searches_that_do_not_learn_are_not_changed_by_failures(method: str) -> None:
    """QMC draws its first point at random to learn the space; a failed trial is enough for that."""
    finite = [replace(one, state="COMPLETE", value=1.0, failed=0.0) for one in swept(method, 8)]
    failed = [replace(one, state="FAIL", value=None, failed=1.0) for one in finite]
    search = search_for(spec(method))
    assert search.propose(finite) == search.propose(failed)


@pytest.mark.parametrize("method", ["gp", "cmaes", "nsga2"])
def test_a_failure_counts_as_a_complete_trial_with_the_worst_value(method: str) -> None:
    seen = swept(method, 14)
    worst = max(one.value for one in seen if one.value is not None)
    as_worst = [replace(one, state="COMPLETE", value=worst) if one.failed else one for one in seen]
    assert as_worst != seen
    assert search_for(spec(method)).propose(as_worst) == search_for(spec(method)).propose(seen)


@given(st.lists(st.none() | st.floats(-1e9, 1e9), max_size=12), st.booleans())
def test_the_worst_value_is_that_of_an_ended_configuration(values: list[float | None], maximize: bool) -> None:
    seen = [
        Configuration(number=i, params={}, state="RUNNING" if i % 3 == 2 else "COMPLETE", value=value)
        for i, value in enumerate(values)
    ]
    ended = [value for i, value in enumerate(values) if i % 3 != 2 and value is not None]
    expected = (min if maximize else max)(ended) if ended else None
    worst = worst_of(seen, [Objective(name="m", maximize=maximize)])
    assert (None if worst is None else worst.values[0]) == expected


@pytest.mark.parametrize(
    ("value", "failed", "expected"), [(None, 1.0, 8.0), (2.0, 0.0, 2.0), (2.0, 0.5, 5.0), (2.0, 1 / 3, 4.0)]
)
def test_the_failed_seeds_of_a_configuration_count_with_the_worst_value(
    value: float | None, failed: float, expected: float
) -> None:
    one = Configuration(number=0, params={}, state="COMPLETE", value=value, failed=failed)
    assert imputed(one, Worst(values=(8.0,))).value == pytest.approx(expected)
    assert imputed(one, None) is one


@given(st.integers(0, 200), st.integers(0, 200))
def test_tpe_takes_no_failed_trial_as_a_good_one(good: int, failed: int) -> None:
    count = count_good(good + failed, failed=failed)
    assert 1 <= count <= 25
    assert count <= max(1, good)
    assert count >= min(math.ceil((good + failed) / 10), 25, good), "never fewer than Optuna's"
