"""Searches: the configurations that they propose, and that they propose the same ones again."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from importlib.metadata import version

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.config import SweepSpec
from sweeper.errors import RecordError
from sweeper.record.events import Asked
from sweeper.record.objectives import Objective
from sweeper.record.storage.codec import decode, encode
from sweeper.search import Configuration, search_for
from sweeper.search.optuna_search import limit_history


def spec(method: str, parameters: Mapping[str, object]) -> SweepSpec:
    return SweepSpec.from_json(
        {"name": "s", "method": method, "metric": {"name": "m"}, "command": ["a"], "parameters": parameters}
    )


def proposals(sweep: SweepSpec, count: int, values: list[float | None] | None = None) -> list[Configuration]:
    search = search_for(sweep)
    seen: list[Configuration] = []
    for number in range(count):
        proposed = search.propose(seen)
        if proposed is None:
            break
        value = values[number] if values else None
        seen.append(replace(proposed, state="RUNNING" if value is None else "COMPLETE", value=value))
    return seen


def read_back(seen: list[Configuration]) -> list[Configuration]:
    """The configurations as they come back from `search.jsonl`: JSON, with lists where the spec has tuples."""
    lines = [encode(Asked(configuration=c.number, params=c.params, attributes=c.attributes)) for c in seen]
    asked = [event for line in lines if isinstance(event := decode(line), Asked)]
    return [replace(c, params=event.params, attributes=event.attributes) for c, event in zip(seen, asked, strict=True)]


SAMPLERS = ["random", "bayes", "tpe", "gp", "cmaes", "qmc", "nsga2", "nsga3"]
GRID: dict[str, object] = {
    "lr": {"values": [1e-4, 3e-4]},
    "c": {"value": [1, 2]},
    "n": {"min": 1, "max": 3, "distribution": "int_uniform"},
}
RANGES: dict[str, object] = {
    "lr": {"min": 1e-5, "max": 1e-2, "distribution": "log_uniform_values"},
    "width": {"min": 2, "max": 9, "distribution": "int_uniform"},
    "dropout": {"min": 0.0, "max": 0.5, "q": 0.05, "distribution": "q_uniform"},
    "batch": {"min": 8, "max": 100, "q": 8, "distribution": "q_log_uniform_values"},
    "kind": {"values": ["a", True, 1, None, [1, 2]]},
    "c": {"value": 7},
}


def test_a_grid_has_every_combination_once_and_the_last_parameter_varies_fastest() -> None:
    seen = proposals(spec("grid", GRID), 100)
    assert [(c.params["lr"], c.params["n"]) for c in seen] == [(lr, n) for lr in (1e-4, 3e-4) for n in (1, 2, 3)]


@given(st.permutations(range(6)), st.integers(min_value=0, max_value=6))
def test_a_grid_proposes_the_missing_combinations(order: list[int], known: int) -> None:
    everything = proposals(spec("grid", GRID), 100)
    seen = read_back([replace(everything[n], number=i) for i, n in enumerate(order[:known])])
    search = search_for(spec("grid", GRID))
    while (proposed := search.propose(seen)) is not None:
        seen.append(proposed)
    assert len(seen) == 6


@pytest.mark.parametrize("method", SAMPLERS)
def test_proposals_lie_within_their_ranges(method: str) -> None:
    for configuration in proposals(spec(method, RANGES), 12, [float(i) for i in range(12)]):
        params = configuration.params
        assert 1e-5 <= float(str(params["lr"])) <= 1e-2
        assert params["width"] in range(2, 10)
        assert params["kind"] in ["a", True, 1, None, (1, 2)]
        assert params["c"] == 7


@pytest.mark.parametrize("method", SAMPLERS)
def test_no_two_proposals_are_the_same(method: str) -> None:
    seen = proposals(spec(method, RANGES), 12, [float(i) for i in range(12)])
    assert len({configuration.params["lr"] for configuration in seen}) == 12


@settings(max_examples=10, deadline=None)
@given(
    method=st.sampled_from(SAMPLERS),
    values=st.lists(st.none() | st.floats(min_value=0, max_value=1), min_size=14, max_size=14),
)
def test_a_search_read_back_from_its_record_proposes_the_same(method: str, values: list[float | None]) -> None:
    sweep = spec(method, RANGES)
    seen = proposals(sweep, 14, values)
    assert search_for(sweep).propose(read_back(seen)) == search_for(sweep).propose(seen)


NUMBERS = st.integers(-50, 50) | st.floats(-50, 50).map(lambda x: round(x, 3))
DISTRIBUTIONS = ["uniform", "log_uniform_values", "int_uniform", "q_uniform", "q_log_uniform_values"]


@settings(max_examples=150, deadline=None)
@given(
    distribution=st.sampled_from(DISTRIBUTIONS),
    bounds=st.tuples(NUMBERS, NUMBERS),
    q=st.sampled_from([1, 2, 7, 0.1, 0.25, 0.003]),
    method=st.sampled_from(["random", "tpe", "cmaes", "qmc"]),
)
def test_every_distribution_stays_in_its_range_and_on_its_multiples(
    distribution: str, bounds: tuple[float, float], q: float, method: str
) -> None:
    """Oracle: decimal arithmetic on the numbers as they are written."""
    parameter: dict[str, object] = {"min": bounds[0], "max": bounds[1], "distribution": distribution}
    if distribution.startswith("q_"):
        parameter["q"] = q
    try:
        sweep = spec(method, {"x": parameter})
    except RecordError:
        return  # an empty range, or a logarithm of what is not above 0
    for configuration in proposals(sweep, 4, [0.4, 0.3, 0.2, 0.1]):
        (x,) = configuration.params.values()
        assert isinstance(x, int | float)
        assert bounds[0] <= x <= bounds[1]
        if distribution == "int_uniform":
            assert type(x) is int
        if distribution.startswith("q_"):
            assert type(x) is type(q)
            assert Decimal(repr(x)) % Decimal(repr(q)) == 0


def test_quantized_values_are_all_proposed_and_evenly_so() -> None:
    parameter = {"min": 0.05, "max": 0.4, "q": 0.1, "distribution": "q_uniform"}
    drawn = [c.params["x"] for c in proposals(spec("random", {"x": parameter}), 200)]
    assert Counter(drawn).keys() == {0.1, 0.2, 0.3, 0.4}
    assert min(Counter(drawn).values()) > 30
    assert [c.params["x"] for c in proposals(spec("grid", {"x": parameter}), 9)] == [0.1, 0.2, 0.3, 0.4]


def test_a_quantized_logarithm_favours_the_small() -> None:
    parameter = {"min": 16, "max": 1024, "q": 16, "distribution": "q_log_uniform_values"}
    drawn = [int(str(c.params["x"])) for c in proposals(spec("random", {"x": parameter}), 200)]
    assert 90 < sum(x <= 128 for x in drawn) < 160, "128 is the geometric mean; rounding favours the lower end a little"


SPHERE: dict[str, object] = {name: {"min": -1.0, "max": 1.0, "distribution": "uniform"} for name in ("x", "y")}


def sphere(params: Mapping[str, object]) -> float:
    return sum((float(str(params[name])) - 0.3) ** 2 for name in SPHERE)


def swept(method: str, count: int, *, resumed: bool, delay: int = 0) -> list[Configuration]:
    """Run a sweep on the sphere; values arrive `delay` proposals late. If resumed, each proposal has a new search."""
    sweep = spec(method, SPHERE)
    search = search_for(sweep)
    seen: list[Configuration] = []
    for number in range(count):
        if resumed:
            seen, search = read_back(seen), search_for(sweep)
        ended = number - delay
        if 0 < ended <= len(seen):
            last = seen[ended - 1]
            seen[ended - 1] = replace(last, state="COMPLETE", value=sphere(last.params))
        proposed = search.propose(seen)
        assert proposed is not None
        seen.append(proposed)
    return seen


@pytest.mark.parametrize("delay", [0, 3], ids=["alone", "with three running"])
@pytest.mark.parametrize("method", SAMPLERS)
def test_a_sweep_interrupted_after_each_ask_is_the_uninterrupted_one(method: str, delay: int) -> None:
    count = 16 if method == "gp" else 30  # a Gaussian process is fitted from the eleventh on
    resumed, whole = (swept(method, count, resumed=resumed, delay=delay) for resumed in (True, False))
    assert resumed == whole


FRESH = """
import json, sys
from sweeper.search import Configuration, search_for
from sweeper.search.optuna_search import limit_history
from sweeper.config import SweepSpec
for sweep, seen in json.load(sys.stdin):
    proposed = search_for(SweepSpec.from_json(sweep)).propose([Configuration(**one) for one in seen])
    print(json.dumps(proposed.params))
"""


def test_a_fresh_process_proposes_the_same() -> None:
    records = {method: swept(method, 14, resumed=False, delay=2) for method in SAMPLERS}
    handed_over = [[spec(method, SPHERE).to_json(), [asdict(c) for c in seen]] for method, seen in records.items()]
    command = [sys.executable, "-c", FRESH]
    said = subprocess.run(command, input=json.dumps(handed_over), capture_output=True, text=True, check=True).stdout
    expected = [search_for(spec(method, SPHERE)).propose(seen) for method, seen in records.items()]
    assert [json.loads(line) for line in said.splitlines()] == [c.params for c in expected if c]


@pytest.mark.parametrize("method", SAMPLERS)
def test_proposals_with_trials_running_are_all_different(method: str) -> None:
    if method == "gp" and tuple(map(int, version("optuna").split(".")[:2])) < (4, 8):
        pytest.skip("before Optuna 4.8, the Gaussian process may propose what is running")
    points = [(c.params["x"], c.params["y"]) for c in swept(method, 16, resumed=False, delay=3)]
    assert len(set(points)) == len(points)


def test_cma_es_continues_from_its_recorded_state() -> None:
    with_state = swept("cmaes", 20, resumed=False)
    assert any("cma:told" in c.attributes for c in with_state)
    without = [replace(c, attributes={}) for c in with_state]
    search = search_for(spec("cmaes", SPHERE))
    proposed, forgetful = search.propose(with_state), search.propose(without)
    assert proposed is not None
    assert forgetful is not None
    assert proposed.params != forgetful.params, "or the attributes would not be needed"


def test_qmc_fills_the_square_evenly() -> None:
    """The first 16 points of a scrambled Sobol sequence: one in each of 16 columns, of 16 rows (Owen 1995)."""
    seen = swept("qmc", 17, resumed=True)[1:]  # Optuna draws the first at random, to learn the space
    for name in SPHERE:
        assert sorted(int((float(str(c.params[name])) + 1) * 8) for c in seen) == list(range(16))


@pytest.mark.parametrize("method", ["tpe", "gp", "cmaes"])
def test_values_steer_a_search(method: str) -> None:
    seen = swept(method, 40 if method != "gp" else 20, resumed=False)
    late, chance = (
        [sphere(c.params) for c in seen[-8:]],
        [sphere(c.params) for c in proposals(spec("random", SPHERE), 40)],
    )
    assert statistics.median(late) < statistics.median(chance) / 3


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("outside", [{"lr": 1.0}, {"width": 2.5}, {"kind": "z"}, {"batch": 9}, {"lr": "x"}])
def test_a_configuration_outside_of_the_space_is_ignored(method: str, outside: dict[str, object]) -> None:
    sweep = spec(method, RANGES)
    seen = proposals(sweep, 12, [float(i) for i in range(12)])
    added = replace(seen[10], params={**seen[10].params, **outside}, attributes={})
    failed = replace(seen[10], state="FAIL", value=None, attributes={})
    ask = search_for(sweep).propose
    assert ask([*seen[:10], added, seen[11]]) == ask([*seen[:10], failed, seen[11]])


CONDITIONAL: dict[str, object] = {
    "nesterov": {"values": [True, False], "when": {"momentum": [0.9, 0.99]}},
    "momentum": {"values": [0.0, 0.9, 0.99], "when": {"optimizer": "sgd"}},
    "optimizer": {"values": ["sgd", "adam"]},
    "beta": {"value": 0.95, "when": {"optimizer": "adam"}},
}


def has_what_applies(params: Mapping[str, object]) -> bool:
    """The conditions above in Python."""
    expected = {"optimizer"}
    if params["optimizer"] == "sgd":
        expected |= {"momentum", "nesterov"} if params["momentum"] != 0.0 else {"momentum"}
    else:
        expected |= {"beta"}
    return params.keys() == expected


def test_a_grid_has_each_conditional_combination_once() -> None:
    seen = proposals(spec("grid", CONDITIONAL), 100)
    assert all(has_what_applies(c.params) for c in seen)
    assert len({json.dumps(c.params, sort_keys=True) for c in seen}) == len(seen) == 6


@pytest.mark.parametrize("method", ["random", "tpe", "gp", "qmc"])
def test_a_search_proposes_a_conditional_parameter_only_where_it_applies(method: str) -> None:
    sweep = spec(method, CONDITIONAL | {"decay": {"min": 0.0, "max": 1.0, "when": {"optimizer": "adam"}}} | RANGES)
    seen = proposals(sweep, 16, [(7 * i % 16) / 16 for i in range(16)])
    assert {"adam", "sgd"} == {c.params["optimizer"] for c in seen}
    for c in seen:
        own = {name: value for name, value in c.params.items() if name in CONDITIONAL}
        assert has_what_applies(own)
        assert ("decay" in c.params) == (c.params["optimizer"] == "adam")
    assert search_for(sweep).propose(read_back(seen)) == search_for(sweep).propose(seen)


def with_pruned(state: str, *, value: float | None, step: int = 10) -> list[Configuration]:
    """Twelve complete configurations, which are better near 0.8, and twelve others near 0.2 in the given state."""
    complete = [
        Configuration(number=i, params={"x": 0.6 + 0.03 * i}, state="COMPLETE", value=1 + abs(0.03 * i - 0.2), step=100)
        for i in range(12)
    ]
    return complete + [
        Configuration(number=12 + i, params={"x": 0.15 + 0.01 * i}, state=state, value=value, step=step)
        for i in range(12)
    ]


LINE = {"x": {"min": 0.0, "max": 1.0, "distribution": "uniform"}}


def next_from(method: str, seen: list[Configuration]) -> list[float]:
    """Return the next proposals of sweeps with twenty names, which are twenty seeds."""
    sweeps = [spec(method, LINE).model_copy(update={"name": f"s{i}"}) for i in range(20)]
    found = [search_for(sweep).propose(seen) for sweep in sweeps]
    return [float(str(c.params["x"])) for c in found if c]


@pytest.mark.parametrize("value", [0.1, 5.0, None])
def test_tpe_ranks_the_pruned_behind_the_complete_whatever_their_value_was(value: float | None) -> None:
    """A tempting value at the tenth step is one at the tenth step."""
    assert statistics.median(next_from("tpe", with_pruned("PRUNED", value=value))) > 0.5
    if value == 0.1:
        assert statistics.median(next_from("tpe", with_pruned("COMPLETE", value=value))) < 0.5


def test_tpe_ranks_the_pruned_by_how_far_they_came() -> None:
    near, far = with_pruned("PRUNED", value=2.0, step=10)[12:], with_pruned("PRUNED", value=3.0, step=90)[:12]
    seen = near + [replace(c, state="PRUNED", value=3.0, step=90) for c in far]
    seen = [replace(c, number=i) for i, c in enumerate(seen)]
    assert statistics.median(next_from("tpe", seen)) > 0.5


@pytest.mark.parametrize("method", ["gp", "cmaes"])
def test_a_pruned_configuration_counts_with_its_last_value_for_samplers_that_rank_by_value(method: str) -> None:
    seen = swept(method, 14, resumed=False)[:-1]
    pruned = [replace(c, state="PRUNED", step=10) if c.number % 3 == 0 and c.value else c for c in seen]
    search = search_for(spec(method, SPHERE))
    assert any(c.state == "PRUNED" for c in pruned)
    assert search.propose(pruned) == search.propose(seen)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("state", ["PRUNED", "FAIL", "COMPLETE"])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_configuration_without_a_finite_value_is_no_error(method: str, state: str, value: float | None) -> None:
    seen = [replace(c, state=state, value=value, step=3) for c in swept(method, 4, resumed=False)]
    assert search_for(spec(method, SPHERE)).propose(seen) is not None


def test_a_record_from_before_attributes_is_read() -> None:
    line = b'{"event":"Asked","time":1.0,"configuration":0,"params":{"lr":1}}'
    assert decode(line) == Asked(time=1.0, configuration=0, params={"lr": 1})


def test_values_steer_a_bayesian_search() -> None:
    sweep = spec("bayes", {"lr": {"min": 0.0, "max": 1.0, "distribution": "uniform"}})
    search = search_for(sweep)
    seen: list[Configuration] = []
    for _ in range(30):
        proposed = search.propose(seen)
        assert proposed is not None
        value = abs(float(str(proposed.params["lr"])) - 0.8)
        seen.append(replace(proposed, state="COMPLETE", value=value))
    late = [float(str(c.params["lr"])) for c in seen[20:]]
    assert sum(abs(lr - 0.8) < 0.2 for lr in late) >= 7


def seen_of(count: int, *, running: int) -> list[Configuration]:
    """Configurations of which the newest run; the values of the others go up and down."""
    return [
        Configuration(
            number=number,
            params={"x": (number * 0.618) % 1},
            state="RUNNING" if number >= count - running else "COMPLETE",
            value=None if number >= count - running else (number * 0.754) % 1,
        )
        for number in range(count)
    ]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(4, 40), st.booleans())
def test_the_best_the_running_and_the_newest_of_a_long_history_are_kept(
    count: int, running: int, most: int, maximize: bool
) -> None:
    seen = seen_of(count, running=min(count, running))
    told = limit_history(seen, most, [Objective(name="m", maximize=maximize)])
    assert len(told) <= most
    assert [one.number for one in told] == sorted({one.number for one in told})
    if count <= most:
        assert list(told) == seen
        return
    ended = [one for one in seen if one.value is not None]
    if ended:
        best = (max if maximize else min)(ended, key=lambda one: one.value or 0.0)
        assert best in told
        assert ended[-1] in told or len(ended) < 2
    assert seen[-1] in told


@pytest.mark.parametrize("method", ["random", "qmc"])
def test_configurations_that_a_sampler_ignores_change_nothing(method: str) -> None:
    sweep = spec(method, {"x": {"distribution": "uniform", "min": 0.0, "max": 1.0}})
    seen = proposals(sweep, 6)
    one, other = ([replace(c, value=value, state="COMPLETE") for c in seen] for value in (1.0, 9.0))
    assert search_for(sweep).propose(one) == search_for(sweep).propose(other)


@pytest.mark.parametrize("method", ["grid", "tpe", "gp"])
def test_mappings_as_values_are_proposed_and_found_in_the_record(method: str) -> None:
    losses = [{"name": "l1", "weights": [1, 2]}, {"name": "l2", "inner": {"a": None}}]
    sweep = spec(method, {"loss": {"values": losses}, "x": {"values": [1, 2, 3, 4, 5]}})
    seen = proposals(sweep, 10, values=[float(n) for n in range(10)])
    assert {json.dumps(one.params["loss"]) for one in seen} == set(map(json.dumps, losses))
    again = read_back(seen)
    assert search_for(sweep).propose(again) == search_for(sweep).propose(seen)
    assert method != "grid" or search_for(sweep).propose(again) is None
