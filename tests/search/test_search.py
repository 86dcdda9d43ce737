"""The searches: which configurations they propose, and that they propose them again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.search import Configuration, search_for
from sweeper.spec import SweepSpec


def spec(method: str, parameters: dict[str, object]) -> SweepSpec:
    return SweepSpec.from_json(
        {"name": "s", "method": method, "metric": {"name": "m"}, "command": ["a"], "parameters": parameters}
    )


def proposals(sweep: SweepSpec, count: int, values: list[float | None] | None = None) -> list[Configuration]:
    search = search_for(sweep)
    seen: list[Configuration] = []
    for number in range(count):
        params = search.propose(seen)
        if params is None:
            break
        value = values[number] if values else None
        state = "RUNNING" if value is None else "COMPLETE"
        seen.append(Configuration(number=number, params=params, state=state, value=value))
    return seen


GRID: dict[str, object] = {
    "lr": {"values": [1e-4, 3e-4]},
    "c": {"value": [1, 2]},
    "n": {"min": 1, "max": 3, "distribution": "int_uniform"},
}
RANGES: dict[str, object] = {
    "lr": {"min": 1e-5, "max": 1e-2, "distribution": "log_uniform_values"},
    "width": {"min": 2, "max": 9, "distribution": "int_uniform"},
    "kind": {"values": ["a", True, 1, None, [1, 2]]},
    "c": {"value": 7},
}


def test_a_grid_is_every_combination_once_with_the_last_varying_fastest() -> None:
    seen = proposals(spec("grid", GRID), 100)
    assert [(c.params["lr"], c.params["n"]) for c in seen] == [(lr, n) for lr in (1e-4, 3e-4) for n in (1, 2, 3)]


@given(st.permutations(range(6)), st.integers(min_value=0, max_value=6))
def test_a_grid_goes_on_with_what_is_missing_whatever_was_seen(order: list[int], known: int) -> None:
    everything = proposals(spec("grid", GRID), 100)
    # What comes back from the record is JSON: lists, where the spec has tuples.
    seen = [
        Configuration(number=i, params=json.loads(json.dumps(everything[n].params)))
        for i, n in enumerate(order[:known])
    ]
    search = search_for(spec("grid", GRID))
    while (params := search.propose(seen)) is not None:
        seen.append(Configuration(number=len(seen), params=params))
    assert len(seen) == 6


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_proposals_lie_within_their_ranges(method: str) -> None:
    for configuration in proposals(spec(method, RANGES), 12, [float(i) for i in range(12)]):
        params = configuration.params
        assert 1e-5 <= float(str(params["lr"])) <= 1e-2
        assert params["width"] in range(2, 10)
        assert params["kind"] in ["a", True, 1, None, (1, 2)]
        assert params["c"] == 7


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_no_two_proposals_are_the_same(method: str) -> None:
    seen = proposals(spec(method, RANGES), 12, [float(i) for i in range(12)])
    assert len({configuration.params["lr"] for configuration in seen}) == 12


@pytest.mark.parametrize("method", ["random", "bayes"])
@settings(max_examples=5, deadline=None)
@given(values=st.lists(st.none() | st.floats(min_value=0, max_value=1), min_size=14, max_size=14))
def test_a_search_read_back_from_its_record_proposes_the_same(method: str, values: list[float | None]) -> None:
    sweep = spec(method, RANGES)
    seen = proposals(sweep, 14, values)
    again = [
        Configuration(number=c.number, params=json.loads(json.dumps(c.params)), state=c.state, value=c.value)
        for c in seen
    ]
    assert search_for(sweep).propose(again) == search_for(sweep).propose(seen)


def test_values_steer_a_bayesian_search() -> None:
    sweep = spec("bayes", {"lr": {"min": 0.0, "max": 1.0, "distribution": "uniform"}})
    search = search_for(sweep)
    seen: list[Configuration] = []
    for number in range(30):
        params = search.propose(seen)
        assert params is not None
        value = abs(float(str(params["lr"])) - 0.8)
        seen.append(Configuration(number=number, params=params, state="COMPLETE", value=value))
    late = [float(str(c.params["lr"])) for c in seen[20:]]
    assert sum(abs(lr - 0.8) < 0.2 for lr in late) >= 7
