"""Known settings and other runs in a sweep file: what is refused, and what may change for an existing run."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.config import LEARNING, SweepSpec, changes_between, demands, setting_of, taken, whole
from sweeper.config.check.known import FROM_OTHERS
from sweeper.errors import SpecError
from tests.config.conftest import Load, sweep

PARAMETERS: dict[str, Any] = {
    "lr": {"min": 1e-5, "max": 1e-2, "distribution": "log_uniform_values"},
    "width": {"min": 2, "max": 8},
    "dropout": {"min": 0.0, "max": 0.5, "q": 0.1},
    "optimizer": {"values": ["sgd", "adam", "lamb"]},
    "beta": {"values": [0.9, 0.99], "when": {"optimizer": ["adam", "lamb"]}},
    "trust": {"values": [True, False], "when": {"optimizer": "lamb"}},
    "shape": {"values": [[1, 2], {"a": 1}]},
    "batch": {"value": 32},
}


def loaded(load_keys: Load, start_with: object, **keys: Any) -> SweepSpec:
    given = {"trainer": None, "command": ["a", "${args}"], "method": "tpe", "parameters": PARAMETERS}
    return load_keys(**{**given, "start_with": start_with, **keys})


@pytest.mark.parametrize(
    ("entry", "key", "said"),
    [
        ({"lr": 0.1}, "lr", "expected a number from 1e-5 to 0.01 for lr, got 0.1; widen parameters.lr to try it"),
        ({"lr": "fast"}, "lr", "expected a number from 1e-5 to 0.01 for lr, got 'fast'"),
        ({"lr": True}, "lr", "expected a number from 1e-5 to 0.01 for lr, got true"),
        ({"width": 2.5}, "width", "expected a whole number from 2 to 8 for width, got 2.5"),
        ({"dropout": 0.25}, "dropout", "expected a multiple of 0.1 from 0.0 to 0.5 for dropout, got 0.25"),
        ({"optimizer": "Adam"}, "optimizer", "expected 'sgd', 'adam' or 'lamb' for optimizer, got 'Adam'; add it to"),
        ({"shape": [2, 1]}, "shape", "expected [1, 2] or a mapping for shape, got [2, 1]"),
        ({"batch": 64}, "batch", "expected the constant 32 for batch, got 64"),
        ({"learning": 1}, "learning", "expected a parameter of the sweep: lr, width"),
        ({"optimizer": "sgd", "beta": 0.9}, "beta", "expected optimizer='adam' or 'lamb', which beta needs, got opt"),
    ],
)
def test_a_value_outside_of_the_space_is_refused_with_its_entry(
    load_keys: Load, entry: dict[str, object], key: str, said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(load_keys, [{"lr": 1e-3}, entry])
    assert len(caught.value.mistakes) == 1
    assert f"start_with.1.{key}: {said}" in str(caught.value)
    assert str(caught.value).startswith("sweep.yaml:")


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ({"distribution": "log_normal", "mu": -7}, -1e-4, "expected a number above 0 for x, got -1e-4"),
        ({"distribution": "q_beta", "q": 0.05}, 0.97, "expected a multiple of 0.05 from 0 to 1 for x, got 0.97"),
        ({"distribution": "normal"}, "fast", "expected a number for x, got 'fast'"),
    ],
)
def test_a_value_that_a_shape_does_not_have_is_refused(
    load_keys: Load, parameter: dict[str, object], value: object, said: str
) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(load_keys, [{"x": value}], parameters={"x": parameter})
    assert f"start_with.0.x: {said}" in str(caught.value)
    assert loaded(load_keys, [{"x": 0.5}], parameters={"x": parameter}).start_with


@pytest.mark.parametrize(
    ("start_with", "said"),
    [
        ([{}], "start_with.0: expected the value of at least one parameter, got an empty mapping"),
        ([{"lr": 1e-3}, {"width": 3}, {"lr": 0.001}], "start_with.2: expected each setting only once"),
        ({"lr": 1e-3}, "start_with: expected a list, got a mapping"),
        ([1e-3], "start_with.0: expected a mapping, got 1e-3"),
        ([{"width": 3}] * 1001, "start_with: expected at most 1,000 entries, got 1001"),
    ],
)
def test_a_list_of_wrong_form_is_refused(load_keys: Load, start_with: object, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(load_keys, start_with)
    assert said in str(caught.value)


def test_all_mistakes_of_an_entry_are_reported_beside_those_of_the_parameters(load_keys: Load) -> None:
    parameters = {**PARAMETERS, "width": {"min": 3}}
    with pytest.raises(SpecError) as caught:
        loaded(load_keys, [{"lr": 1, "width": 99, "batch": 1}], parameters=parameters)
    assert [mistake.key for mistake in caught.value.mistakes] == [
        "parameters.width.max",
        "start_with.0.lr",
        "start_with.0.batch",
    ]


def test_a_group_is_a_mapping_in_an_entry_too(load_keys: Load) -> None:
    parameters = {"optimizer": {"parameters": {"lr": {"min": 0.0, "max": 1.0}, "name": {"values": ["a", {"b": 1}]}}}}
    given = [{"optimizer": {"lr": 0.5, "name": {"b": 1}}}, {"optimizer.lr": 0.25}]
    spec = loaded(load_keys, given, parameters=parameters)
    assert spec.start_with == ({"optimizer.lr": 0.5, "optimizer.name": {"b": 1}}, {"optimizer.lr": 0.25})


@pytest.mark.parametrize("method", ["grid", "random", "qmc"])
def test_a_search_that_does_not_learn_has_nothing_to_learn_from(load_keys: Load, method: str) -> None:
    keys = {"method": method, "parameters": {"lr": {"values": [1]}}, "learn_from": "warmup"}
    with pytest.raises(SpecError, match=f"learn_from: expected a method that learns .*, got method: {method}"):
        loaded(load_keys, [], **keys)


def test_a_search_with_constraints_learns_from_its_own_trials_only(load_keys: Load) -> None:
    with pytest.raises(SpecError, match="learn_from: expected no constraints with learn_from, got constraints; of oth"):
        loaded(load_keys, [], learn_from="a", constraints=[{"name": "memory_gb", "max": 16}])
    assert loaded(load_keys, [], learn_from="a", constraints=[]).learn_from == ("a",)


def test_other_runs_are_a_list_or_one_name_and_each_only_once(load_keys: Load) -> None:
    assert loaded(load_keys, [], learn_from="a").learn_from == ("a",)
    assert loaded(load_keys, [], learn_from=["a", "runs/b"]).learn_from == ("a", "runs/b")
    with pytest.raises(SpecError, match="learn_from: expected each value only once, got 'a' twice"):
        loaded(load_keys, [], learn_from=["a", "a"])


def test_both_keys_are_overrides(load_keys: Load) -> None:
    keys = {"trainer": None, "command": ["a"], "method": "tpe", "parameters": PARAMETERS}
    spec = load_keys("start_with=[{lr: 1e-3}]", "learn_from=[a]", **keys)
    assert (spec.start_with, spec.learn_from) == (({"lr": 1e-3},), ("a",))
    assert SweepSpec.from_json(spec.to_json()) == spec


SPEC = SweepSpec.from_json(sweep(method="tpe", parameters=PARAMETERS))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("lr", 1e-3, 1e-3), ("width", 3.0, 3), ("dropout", 0.3, 0.3), ("shape", [1, 2], (1, 2)), ("batch", 32.0, 32)],
)
def test_a_value_is_as_the_search_would_propose_it(name: str, value: object, expected: object) -> None:
    found = taken(SPEC.parameters[name], value)
    assert (found, type(found)) == (expected, type(expected))


def test_a_range_of_huge_numbers_is_checked_exactly() -> None:
    most = 2**60 + 1  # no float
    parameter = SweepSpec.from_json(sweep(method="tpe", parameters={"x": {"min": 0, "max": most}})).parameters["x"]
    assert taken(parameter, most - 2) == most - 2
    with pytest.raises(ValueError, match="a whole number from 0"):
        taken(parameter, most + 1)


def test_a_conditional_parameter_demands_what_it_depends_on() -> None:
    assert demands(SPEC.parameters, {"beta": 0.9}).values == {"optimizer": ("adam", "lamb")}
    assert demands(SPEC.parameters, {"beta": 0.9, "trust": True}).values == {"optimizer": ("lamb",)}
    assert demands(SPEC.parameters, {"trust": True, "optimizer": "adam"}).contradictions == (("trust", "optimizer"),)


def test_a_setting_is_whole_once_only_constants_are_left() -> None:
    given = {"lr": 1e-3, "width": 3, "dropout": 0.1, "optimizer": "sgd", "shape": [1, 2]}
    assert whole(SPEC.parameters, setting_of(SPEC.parameters, given)) == {**given, "shape": (1, 2), "batch": 32}
    assert whole(SPEC.parameters, setting_of(SPEC.parameters, {**given, "optimizer": "adam"})) is None


def test_both_keys_may_change_for_an_existing_run() -> None:
    one, other = (
        SweepSpec.from_json(sweep(method="tpe", start_with=[{"lr": lr}], learn_from=[run]))
        for lr, run in ((1e-4, "a"), (3e-4, "b"))
    )
    changes = changes_between(one, other)
    assert not changes.conflicts
    assert changes.additions == (
        "start_with: added {lr: 3e-4}, which is tried next",
        "start_with: removed {lr: 1e-4}; a configuration that was made from it stays",
        "learn_from: added 'b'; its trials count from the next proposal on",
        "learn_from: removed 'a'; its trials do not count in further proposals",
    )
    grid = (SweepSpec.from_json(sweep(start_with=entries)) for entries in ([], [{"lr": 1e-4}]))
    assert "`sweeper queue RUN NUMBER --first` moves them" in changes_between(*grid).additions[0]
    pbt = (SweepSpec.from_json(sweep(method="pbt", start_with=entries)) for entries in ([], [{"lr": 1e-4}]))
    assert "only if members of the first turn are left to be made" in changes_between(*pbt).additions[0]


def test_the_methods_that_learn_are_those_that_base_proposals_on_values() -> None:
    assert {method.value for method in LEARNING} == {"bayes", "tpe", "gp", "cmaes", "nsga2", "nsga3"}
    assert {method.value for method in FROM_OTHERS} == {"bayes", "tpe", "gp", "cmaes"}  # learn_from
