"""Known settings come first in every search, and what other runs found counts from the first proposal on."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.search import Configuration, search_for
from sweeper.search.grid import Grid
from sweeper.search.known import settings_of
from sweeper.search.warm_start import FEWEST
from tests.search.test_imputation import LIMIT, diverged, lr_of, result

SAMPLERS = ["random", "bayes", "tpe", "gp", "cmaes", "qmc"]
LEARNING = ["bayes", "tpe", "gp", "cmaes"]
LR: Mapping[str, object] = {"min": 1e-5, "max": 10.0, "distribution": "log_uniform_values"}
SPACE: Mapping[str, Any] = {"lr": LR, "warmup": {"min": 0.0, "max": 1.0}, "batch": {"value": 32}}
CONDITIONAL: Mapping[str, Any] = {
    "beta": {"min": 0.0, "max": 1.0, "when": {"optimizer": ["adam", "lamb"]}},
    "optimizer": {"values": ["sgd", "rmsprop", "adagrad", "adam", "lamb"]},
}


def spec(method: str, parameters: Mapping[str, Any], start_with: Sequence[Mapping[str, object]] = ()) -> SweepSpec:
    body = {"name": "s", "method": method, "metric": {"name": "m"}, "command": ["a"]}
    return SweepSpec.from_json({**body, "parameters": parameters, "start_with": list(start_with)})


def swept(sweep: SweepSpec, count: int, *, learned: Sequence[Configuration] = (), anew: bool = False) -> list[Any]:
    """Run a search; with `anew`, each proposal comes from a new search and from what is on the record."""
    search, seen = search_for(sweep, learned), list[Configuration]()
    for _ in range(count):
        if anew:
            seen = [replace(one, params=json.loads(json.dumps(one.params))) for one in seen]
            search = search_for(sweep, learned)
        proposed = search.propose(seen)
        if proposed is None:
            break
        seen.append(result(proposed) if "lr" in proposed.params else replace(proposed, state="COMPLETE", value=1.0))
    return seen


@pytest.mark.parametrize("method", SAMPLERS)
def test_the_settings_are_the_first_configurations_in_order(method: str) -> None:
    first = {"lr": 1e-4, "warmup": 0.7}
    seen = swept(spec(method, SPACE, [first, {"lr": 3e-4}, {"warmup": 1}]), 4)
    assert seen[0].params == {**first, "batch": 32}
    assert seen[1].params["lr"] == 3e-4
    assert 0 <= seen[1].params["warmup"] <= 1
    assert (seen[2].params["warmup"], type(seen[2].params["warmup"])) == (1.0, float)
    assert [one.start for one in seen] == [first, {"lr": 3e-4}, {"warmup": 1.0}, None]


@pytest.mark.parametrize("method", SAMPLERS)
def test_a_resumed_search_goes_on_where_it_was(method: str) -> None:
    sweep = spec(method, SPACE, [{"lr": 1e-4, "warmup": 0.7}, {"lr": 3e-4}])
    count = 9 if method == "gp" else 14
    assert [one.params for one in swept(sweep, count, anew=True)] == [one.params for one in swept(sweep, count)]


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("kept", [[{"lr": 3e-4}], []], ids=["added", "in place of another"])
def test_a_setting_that_is_added_later_is_proposed_next_and_only_once(
    method: str, kept: list[dict[str, object]]
) -> None:
    seen = swept(spec(method, SPACE, [{"lr": 3e-4}]), 4)
    search = search_for(spec(method, SPACE, [{"warmup": 0.25}, *kept]))
    added = search.propose(seen)
    assert added is not None
    assert added.params["warmup"] == 0.25
    further = search.propose([*seen, result(added)])
    assert further is not None
    assert further.start is None


def test_a_setting_that_the_sweep_has_already_is_not_run_again() -> None:
    """A user may have added it, or the search proposed it."""
    by_hand = Configuration(number=0, params={"lr": 1e-4, "warmup": 0.7, "batch": 32}, state="COMPLETE", value=1.0)
    proposed = search_for(spec("tpe", SPACE, [{"lr": 1e-4, "warmup": 0.7}])).propose([by_hand])
    assert proposed is not None
    assert proposed.start is None


def test_a_general_setting_follows_a_special_one_that_it_contains() -> None:
    seen = swept(spec("random", SPACE, [{"lr": 1e-4, "warmup": 0.7}, {"lr": 1e-4}]), 3)
    assert [one.params["lr"] == 1e-4 for one in seen] == [True, True, False]


@pytest.mark.parametrize("method", ["random", "tpe", "gp", "qmc"])
def test_a_conditional_parameter_applies_where_it_is_given(method: str) -> None:
    """Four of five draws would leave it out."""
    entries = [{"beta": beta / 10} for beta in range(6)]
    seen = swept(spec(method, CONDITIONAL, entries), 6)
    assert [one.params["beta"] for one in seen] == [entry["beta"] for entry in entries]
    assert {one.params["optimizer"] for one in seen} <= {"adam", "lamb"}


def test_the_sequence_of_qmc_does_not_move_for_what_is_fixed() -> None:
    plain, known = (swept(spec("qmc", SPACE, entries), 6) for entries in ([], [{"lr": 1e-4, "warmup": 0.7}]))
    assert [one.params for one in known[1:]] == [one.params for one in plain[1:]]


GRID: Mapping[str, Any] = {
    "optimizer": {"values": ["sgd", "adam"]},
    "lr": {"values": [1e-4, 3e-4]},
    "beta": {"values": [0.9, 0.99], "when": {"optimizer": "adam"}},
}


def test_a_grid_tries_the_matching_combinations_first_and_each_only_once() -> None:
    sweep = spec("grid", GRID, [{"lr": 3e-4, "beta": 0.99}, {"lr": 3e-4}])
    seen = swept(sweep, 99)
    assert [tuple(one.params.values()) for one in seen] == [
        ("adam", 3e-4, 0.99),
        ("sgd", 3e-4),
        ("adam", 3e-4, 0.9),
        ("sgd", 1e-4),
        ("adam", 1e-4, 0.9),
        ("adam", 1e-4, 0.99),
    ]
    assert sorted(map(str, Grid(sweep.parameters).points())) == sorted(str(dict(one.params)) for one in seen)
    assert [one.number for one in seen] == list(range(6))


def test_a_grid_that_is_resumed_tries_nothing_twice() -> None:
    sweep = spec("grid", GRID, [{"lr": 3e-4, "beta": 0.99}])
    assert [one.params for one in swept(sweep, 99, anew=True)] == [one.params for one in swept(sweep, 99)]
    assert len(settings_of(sweep)) == 1


def learned(count: int = 20, *, numbers: Sequence[float] = ()) -> list[Configuration]:
    """What another run found: half of its learning rates diverged."""
    rates = numbers or [10 ** (-5 + 6 * index / (count - 1)) for index in range(count)]
    given = [Configuration(number=index - len(rates), params={"lr": lr}) for index, lr in enumerate(rates)]
    return [result(one) for one in given]


@pytest.mark.parametrize("method", LEARNING)
def test_what_another_run_found_makes_fewer_proposals_diverge(method: str) -> None:
    """The first ten are at random, so about half of them diverge, if nothing is known."""
    knowing, ignorant = ([], [])
    for name in ("s0", "s1", "s2"):
        sweep = spec(method, {"lr": LR}).model_copy(update={"name": name})
        knowing.append(diverged(swept(sweep, 10, learned=learned())))
        ignorant.append(diverged(swept(sweep, 10)))
    assert statistics.fmean(ignorant) > 2.5, "or there is nothing to learn"
    assert statistics.fmean(knowing) <= 1


@pytest.mark.parametrize("method", LEARNING)
@pytest.mark.parametrize("count", [1, 3, FEWEST])
def test_a_few_configurations_are_enough_to_learn_from(method: str, count: int) -> None:
    known = learned(numbers=[1e-3 * (1 + index / 10) for index in range(count)])
    sweep = spec(method, {"lr": LR, "kind": {"values": ["a", "b"]}, "n": {"min": 1, "max": 4}, "one": {"values": [1]}})
    known = [replace(one, params={**one.params, "kind": "a", "n": 2, "one": 1}) for one in known]
    first, again = (search_for(sweep, known).propose([]) for _ in range(2))
    assert first is not None
    assert first == again
    assert first.number == 0


@pytest.mark.parametrize("method", LEARNING)
def test_only_failures_of_another_run_are_no_hindrance(method: str) -> None:
    known = learned(numbers=[0.1, 1.0])
    assert len(swept(spec(method, {"lr": LR}), 6, learned=known)) == 6


@pytest.mark.parametrize("method", LEARNING)
def test_a_resumed_search_that_learned_is_the_uninterrupted_one(method: str) -> None:
    count = 8 if method == "gp" else 14
    sweep = spec(method, {"lr": LR}, [{"lr": 0.5}])
    resumed, whole = (swept(sweep, count, learned=learned(), anew=anew) for anew in (True, False))
    assert [one.params for one in resumed] == [one.params for one in whole]
    assert lr_of(whole[0]) == 0.5 > LIMIT


def test_cmaes_begins_around_the_best_of_another_run() -> None:
    known = learned(numbers=[1e-5 * 2**index for index in range(10)])
    best = min((one for one in known if one.value is not None), key=lambda one: one.value or 0.0)
    near = [math.log10(lr_of(one)) for one in swept(spec("cmaes", {"lr": LR}), 4, learned=known)]
    assert abs(statistics.fmean(near) - math.log10(lr_of(best))) < 1
