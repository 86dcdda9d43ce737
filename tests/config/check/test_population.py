"""`method: pbt` in a sweep file: what it needs, and each mistake, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeper.config import SweepSpec, load
from sweeper.errors import SpecError
from tests.config.conftest import sweep

POPULATION = {"every_steps": 100, "turns": 10}


def loaded(folder: Path, **keys: Any) -> SweepSpec:
    path = folder / "sweep.yaml"
    given = {"method": "pbt", "population": POPULATION, "trainer": None, "command": ["train"], "run_cap": None, **keys}
    space = {"lr": {"min": 1e-5, "max": 1e-2}}
    path.write_text(json.dumps({k: v for k, v in sweep(**{"parameters": space, **given}).items() if v is not None}))
    return load(path, has_cuda=False, trainers={})


def test_a_population_ends_with_its_last_turn(tmp_path: Path) -> None:
    spec = loaded(tmp_path, population_size=6)
    assert spec.run_cap == 60
    assert loaded(tmp_path).run_cap == 80
    assert loaded(tmp_path, run_cap=20).run_cap == 20
    assert len(loaded(tmp_path, population_size=2, start_with=[{"lr": 1e-3}, {"lr": 1e-4}]).start_with) == 2
    assert SweepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("keys", [{"early_stop": {"repair": "off"}}, {"on_spike": "skip"}, {"early_stop": "auto"}])
def test_members_may_be_stopped_and_spikes_skipped(keys: dict[str, Any], tmp_path: Path) -> None:
    assert loaded(tmp_path, **keys).method == "pbt"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"population": None}, "method: expected population with method: pbt, got none"),
    ({"method": "random"}, "population: expected population only with method: pbt, got method: random"),
    ({"seeds": [0, 1]}, "seeds: expected one seed with method: pbt, got 2 seeds"),
    ({"learn_from": ["other"]}, "learn_from: expected no learn_from with method: pbt, got learn_from"),
    (
        {"early_stop": {"rules": ["auto", {"hyperband": {}}]}},
        "early_stop.rules.1: expected no pruner with method: pbt, got hyperband",
    ),
    ({"early_stop": {"repair": "auto"}}, "early_stop.repair: expected no repair with method: pbt, got auto"),
    ({"early_stop": {"repair": {"lr": "lr"}}}, "early_stop.repair: expected no repair with method: pbt"),
    ({"on_spike": "rewind"}, "on_spike: expected no rewind with method: pbt, got rewind"),
    (
        {"early_stop": {"rules": ["auto", {"spike": {"above": 30}}]}},
        "early_stop.rules.1: expected no rule spike with method: pbt, got spike",
    ),
    (
        {"start_with": [{"lr": n / 1000} for n in range(1, 10)]},
        "start_with: expected at most 8 entries, one for each member, got 9; or write population_size: 9",
    ),
    ({"population": {"every_steps": 0, "turns": 4}}, "population.every_steps: expected at least 1, got 0"),
    ({"population": {"turns": 4}}, "population.every_steps"),
    ({"population": {"every_steps": 9, "turns": 4, "turn": 1}}, "population.turn: expected one of every_steps, turns"),
]


@pytest.mark.parametrize(("keys", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_each_mistake_is_named(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, **keys)
    assert message in str(error.value)
