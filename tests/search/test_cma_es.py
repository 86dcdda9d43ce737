"""The state of CMA-ES is rebuilt exactly from what it was told; nothing in a record is executed or ends a sweep."""

from __future__ import annotations

import functools
import json
import pickle
import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial, create_trial

from sweeper.search import Configuration, search_for
from sweeper.search.optuna_search import REBUILT
from tests.search.test_search import SPHERE, spec, sphere, swept

POPULATION = 6
"""Of two parameters: 4 + floor(3 log 2)."""


def by_optuna(count: int) -> list[dict[str, Any]]:
    """What Optuna proposes that keeps its pickle, as an independent oracle."""
    sweep, trials = spec("cmaes", SPHERE), list[FrozenTrial]()
    for number in range(count):
        seed = zlib.crc32(f"{sweep.name}:{number}".encode())
        sampler = CmaEsSampler(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True)
        study = optuna.create_study(sampler=sampler)
        study.add_trials(trials)
        asked = study.ask()
        for name in SPHERE:
            asked.suggest_float(name, -1.0, 1.0)
        found = study.get_trials()[number]
        trials.append(
            create_trial(
                params=found.params,
                distributions=found.distributions,
                value=sphere(found.params),
                system_attrs=found.system_attrs,
            )
        )
    return [trial.params for trial in trials]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_replay_proposes_what_optuna_does_with_its_pickle() -> None:
    ours = swept("cmaes", 9 * POPULATION, resumed=False)
    assert [one.params for one in ours] == by_optuna(9 * POPULATION)


def test_the_record_has_the_generations_as_plain_json() -> None:
    seen = swept("cmaes", 4 * POPULATION, resumed=False, delay=2)
    assert {key for one in seen for key in one.attributes} == {"cma:generation", "cma:told"}
    told = [one.attributes["cma:told"] for one in seen if "cma:told" in one.attributes]
    assert all(len(one) == POPULATION for one in told)
    assert all(value == sphere(seen[number].params) for one in told for number, value in one)
    assert json.loads(json.dumps(told)) == told


def test_a_value_that_changes_after_its_generation_changes_nothing() -> None:
    """A trial may be revived: what the optimizer was told then has happened."""
    seen = swept("cmaes", 3 * POPULATION, resumed=False)
    revived = [replace(seen[3], value=-100.0), *seen[4:]]
    search = search_for(spec("cmaes", SPHERE))
    assert search.propose([*seen[:3], *revived]) == search_for(spec("cmaes", SPHERE)).propose(seen)


def earlier(seen: Sequence[Configuration], state: str) -> list[Configuration]:
    """A record of an earlier version: the pickle in pieces in place of the generations."""
    old = []
    for one in seen:
        attributes = {key: value for key, value in one.attributes.items() if key != "cma:told"}
        if "cma:told" in one.attributes:
            attributes["cma:optimizer:0"] = state
        old.append(replace(one, attributes=attributes))
    return old


class Touch:
    """What runs a command when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.canary), "w")


def test_the_pickle_of_an_earlier_version_is_not_executed_and_the_sweep_goes_on(tmp_path: Path) -> None:
    seen = swept("cmaes", 4 * POPULATION, resumed=False)
    canary = tmp_path / "canary"
    old = earlier(seen, pickle.dumps(Touch(canary)).hex())
    search = search_for(spec("cmaes", SPHERE))
    proposed = search.propose(old)
    assert not canary.exists()
    expected = search_for(spec("cmaes", SPHERE)).propose(seen)
    assert proposed is not None
    assert expected is not None
    assert proposed.params == expected.params, "one trial at a time was told in its order, so the replay is exact"
    assert search.notes == (REBUILT,)


ODD: list[Any] = [None, True, -1, 10**40, 0.5, "x", "\ud800", [], [[1]], [[1, 2, 3]], [["1", 2]], {"a": 1}]


@functools.cache
def _swept(method: str) -> Sequence[Configuration]:
    return swept(method, 2 * POPULATION + 2, resumed=False)


@pytest.mark.parametrize(
    "odd", [*ODD, [[0, float("nan")]], [[0, "nan"]], [[999, 1.0]], [[True, 1.0]] * 6, [[0, 10**400]]]
)
@pytest.mark.parametrize("key", ["cma:told", "cma:generation", "cma:optimizer:0", "cma:x_for_tell", "qmc:1", "study:x"])
@pytest.mark.parametrize("method", ["cmaes", "qmc"])
def test_a_damaged_state_ends_no_sweep(method: str, key: str, odd: Any) -> None:
    seen = _swept(method)
    damaged = [replace(one, attributes={**one.attributes, key: odd}) for one in seen]
    proposed = search_for(spec(method, SPHERE)).propose(damaged)
    assert proposed is not None
    json.dumps(proposed.attributes, allow_nan=False)


def test_lines_of_the_record_that_are_lost_end_no_sweep() -> None:
    seen = swept("cmaes", 4 * POPULATION, resumed=False)
    draw = random.Random(0)
    for _ in range(20):
        kept = [one for one in seen if draw.random() < 0.7]
        proposed = search_for(spec("cmaes", SPHERE)).propose(kept)
        assert proposed is not None


def test_a_huge_position_of_qmc_is_not_searched_for() -> None:
    """Moving a Sobol sequence to a position takes time in proportion to it."""
    seen = swept("qmc", 3, resumed=False)
    (key,) = {key for one in seen for key in one.attributes}
    damaged = [replace(one, attributes={key: 2**62}) for one in seen]
    assert search_for(spec("qmc", SPHERE)).propose(damaged) is not None
