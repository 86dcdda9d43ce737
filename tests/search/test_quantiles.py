"""Distributions that no sampler of Optuna has. Oracle: scipy."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats  # type: ignore[import-untyped]

from sweeper.config import Choice, SweepSpec
from sweeper.record.values.beta import incomplete_beta
from sweeper.search import Configuration, search_for
from sweeper.search.quantiles import LEAST, MOST, beta_quantile, quantile_of, value_at

SHAPES: dict[str, dict[str, Any]] = {
    "normal": {"distribution": "normal", "mu": 3, "sigma": 0.5},
    "log_normal": {"distribution": "log_normal", "mu": -7.0, "sigma": 1.5},
    "beta": {"distribution": "beta", "a": 2, "b": 5},
    "q_normal": {"distribution": "q_normal", "mu": 64, "sigma": 30.0, "q": 8},
    "q_log_normal": {"distribution": "q_log_normal", "mu": 3, "sigma": 1, "q": 0.5},
    "q_beta": {"distribution": "q_beta", "a": 0.5, "b": 0.5, "q": 0.1},
    "probabilities": {"values": ["adam", [1, 2], None], "probabilities": [0.7, 0.2, 0.1]},
}
FROZEN = {
    "normal": stats.norm(3, 0.5),
    "log_normal": stats.lognorm(s=1.5, scale=math.exp(-7)),
    "beta": stats.beta(2, 5),
}
LEARNING = ["tpe", "gp", "cmaes", "qmc"]


def spec(method: str, parameters: dict[str, Any]) -> SweepSpec:
    head = {"name": "s", "method": method, "metric": {"name": "loss"}, "command": ["train"]}
    return SweepSpec.from_json({**head, "parameters": parameters})


def drawn(method: str, parameters: dict[str, Any], count: int) -> list[Configuration]:
    """Return proposals, each of which is complete before the next one is made."""
    search, seen = search_for(spec(method, parameters)), list[Configuration]()
    for number in range(count):
        proposed = search.propose(seen)
        assert proposed is not None
        seen.append(replace(proposed, state="COMPLETE", value=float(number)))
    return seen


@pytest.mark.parametrize("name", FROZEN)
def test_random_search_draws_from_the_distribution(name: str) -> None:
    """At the level of one in a thousand; the draws are the same in every call."""
    values = [float(str(one.params["x"])) for one in drawn("random", {"x": SHAPES[name]}, 400)]
    assert stats.kstest(values, FROZEN[name].cdf).pvalue > 1e-3


def test_values_with_probabilities_are_drawn_as_often() -> None:
    counts = Counter(str(one.params["x"]) for one in drawn("random", {"x": SHAPES["probabilities"]}, 400))
    expected = {"adam": 280.0, "(1, 2)": 80.0, "None": 40.0}
    assert stats.chisquare([counts[key] for key in expected], list(expected.values())).pvalue > 1e-3


def test_a_value_without_probability_is_never_drawn() -> None:
    choice = Choice(values=("a", "b", "c"), probabilities=(0.0, 1.0, 0.0))
    assert {value_at(choice, quantile) for quantile in (LEAST, 0.5, MOST)} == {"b"}


def test_rounded_thirds_reach_every_value() -> None:
    choice = Choice(values=("a", "b", "c"), probabilities=(0.33, 0.33, 0.33))
    assert [value_at(choice, quantile) for quantile in (LEAST, 0.34, 0.67, MOST)] == ["a", "b", "c", "c"]


@pytest.mark.parametrize("method", LEARNING)
def test_every_sampler_draws_them_and_rounded_values_are_multiples(method: str) -> None:
    for one in drawn(method, SHAPES, 14):
        params = one.params
        assert params["q_normal"] % 8 == 0  # type: ignore[operator]
        assert type(params["q_normal"]) is int
        assert params["q_beta"] in [round(0.1 * n, 1) for n in range(11)]
        assert params["probabilities"] in ("adam", (1, 2), None)
        assert 0 < params["beta"] < 1  # type: ignore[operator]


@pytest.mark.parametrize("method", LEARNING)
def test_a_search_read_back_from_its_record_proposes_the_same(method: str) -> None:
    seen = drawn(method, SHAPES, 12)
    recorded = [
        replace(one, params={**one.params, "probabilities": _as_recorded(one.params["probabilities"])}) for one in seen
    ]
    search = search_for(spec(method, SHAPES))
    assert search.propose(recorded) == search.propose(seen)


def _as_recorded(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("quantile", [LEAST, 0.01, 0.3, 0.5, 0.95, MOST])
def test_a_value_has_the_quantile_that_it_was_drawn_at(name: str, quantile: float) -> None:
    parameter = spec("random", {"x": SHAPES[name]}).parameters["x"]
    value = value_at(parameter, quantile)  # type: ignore[arg-type]
    back = quantile_of(parameter, value)  # type: ignore[arg-type]
    assert back is not None
    again = value_at(parameter, back)  # type: ignore[arg-type]
    if name in FROZEN:
        assert back == pytest.approx(quantile, abs=1e-9)
        assert again == pytest.approx(value)
    else:
        assert again == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_normal", -1), ("beta", 1.5), ("q_normal", 3), ("normal", True), ("normal", "a"), ("probabilities", "sgd")],
)
def test_a_value_that_cannot_be_drawn_has_no_quantile(name: str, value: object) -> None:
    parameter = spec("random", {"x": SHAPES[name]}).parameters["x"]
    assert quantile_of(parameter, value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("a", "b"), [(2, 5), (0.5, 0.5), (0.1, 3), (100, 200), (1, 1), (1000, 1000), (0.01, 0.01)])
@pytest.mark.parametrize("quantile", [LEAST, 0.01, 0.3, 0.5, 0.9, MOST])
def test_quantiles_of_beta_are_right(a: float, b: float, quantile: float) -> None:
    assert beta_quantile(a, b, quantile) == pytest.approx(stats.beta.ppf(quantile, a, b), rel=1e-6, abs=1e-12)
    assert incomplete_beta(0.3, a, b) == pytest.approx(stats.beta.cdf(0.3, a, b), rel=1e-9, abs=1e-12)


def test_tpe_learns_where_a_normal_parameter_is_good() -> None:
    search, seen = search_for(spec("tpe", {"x": SHAPES["normal"]})), list[Configuration]()
    for _ in range(60):
        proposed = search.propose(seen)
        assert proposed is not None
        seen.append(replace(proposed, state="COMPLETE", value=abs(float(str(proposed.params["x"])) - 3.8)))
    late = [float(str(one.params["x"])) for one in seen[-20:]]
    assert sum(abs(x - 3.8) < 0.3 for x in late) >= 10  # of draws, one in eight
