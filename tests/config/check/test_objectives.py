"""Several objectives and constraints in a sweep file: how they are read, and each mistake, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweeper.config import Goal, SweepSpec, changes_between, load, reproduction_as_file, sweep_of_trial
from sweeper.config.write.schema import schema
from sweeper.errors import SpecError
from tests.config.conftest import sweep

BOTH = [{"name": "loss/val"}, {"name": "accuracy", "goal": "maximize"}]
SPACE = {"lr": {"min": 1e-5, "max": 1e-2}}


def file(**keys: Any) -> dict[str, Any]:
    given = {"metric": None, "objectives": BOTH, "method": "tpe", "run_cap": 9, "parameters": SPACE, "trainer": None}
    return sweep(**{**given, "command": ["train"], **keys})


def loaded(folder: Path, **keys: Any) -> SweepSpec:
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(file(**keys)))
    return load(path, has_cuda=False, trainers={})


def test_the_first_objective_is_the_metric_and_the_last_evaluation_counts(tmp_path: Path) -> None:
    spec = loaded(tmp_path, constraints=[{"name": "memory_gb", "max": 16}], method="nsga2", population_size=8)
    assert (spec.metric.name, spec.metric.goal, spec.metric.at) == ("loss/val", Goal.MINIMIZE, "last")
    assert [(goal.name, goal.maximize) for goal in spec.goals] == [("loss/val", False), ("accuracy", True)]
    assert [str(bound) for bound in spec.bounds] == ["memory_gb <= 16"]
    assert SweepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_constraints_go_with_one_metric_too(tmp_path: Path) -> None:
    spec = loaded(tmp_path, objectives=None, metric={"name": "acc"}, constraints=[{"name": "a", "min": 1, "max": 2}])
    assert (spec.objectives, [str(bound) for bound in spec.bounds]) == ((), ["1 <= a <= 2"])


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"metric": {"name": "acc", "at": "best"}},
        (
            "metric: expected only one of metric and objectives, got both; the last step with all objectives counts, "
            "so at and impute of metric do not apply"
        ),
    ),
    ({"objectives": BOTH[:1]}, "objectives: expected at least two objectives, got one; write metric: {name: loss/val}"),
    (
        {"objectives": []},
        (
            "objectives: expected at least two objectives, got none; write objectives: [{name: loss/val, goal: "
            "minimize}, {name: latency_ms, goal: minimize}]"
        ),
    ),
    ({"objectives": "loss"}, "objectives: expected a list, got 'loss'"),
    ({"objectives": ["loss", *BOTH]}, "objectives.0: expected a mapping, got 'loss'"),
    (
        {"objectives": [*BOTH, BOTH[0]]},
        "objectives.2.name: expected another name in each of objectives, got 'loss/val'",
    ),
    (
        {"objectives": [BOTH[0], {"name": "b", "at": "best"}]},
        (
            "objectives.1.at: expected one of name or goal, got an unknown key; the last step with all objectives "
            "counts; at belongs to metric, with one objective"
        ),
    ),
    (
        {"objectives": [{"name": "a", "goal": "max"}, *BOTH]},
        "objectives.0.goal: expected minimize or maximize, got 'max'",
    ),
    (
        {"method": "cmaes"},
        "method: expected a method for several objectives, got cmaes; write method: tpe, gp, nsga2 or nsga3",
    ),
    (
        {"method": "cmaes", "objectives": None, "metric": {"name": "a"}, "constraints": [{"name": "b", "max": 1}]},
        "method: expected a method for constraints, got cmaes; write method: tpe, gp, nsga2 or nsga3",
    ),
    (
        {"population_size": 8},
        "population_size: expected population_size only with method: nsga2, nsga3 or pbt, got method: tpe",
    ),
    ({"method": "nsga2", "population_size": 1}, "population_size: expected at least 2, got 1"),
    (
        {"constraints": [{"name": "a"}]},
        "constraints.0: expected min, max, or both, got neither; for example {name: a, max: 16}",
    ),
    (
        {"constraints": [{"name": "a", "min": 2, "max": 1}]},
        "constraints.0: expected a max that is not below min, got min: 2 and max: 1",
    ),
    ({"constraints": [{"name": "a", "max": ".inf"}]}, "constraints.0.max: expected a number, got '.inf'"),
    (
        {"constraints": [{"name": "a", "max": 1}, {"name": "a", "min": 0}]},
        "constraints.1.name: expected another name in each of constraints, got 'a'",
    ),
    (
        {"constraints": [{"name": "a", "mx": 1, "min": 0}]},
        "constraints.0.mx: expected one of name, min or max, got an unknown key; did you mean max?",
    ),
    (
        {"early_stop": {"rules": ["auto", {"median": {}}]}},
        (
            "early_stop.rules.1: expected no pruner with several objectives, because pruners compare trials by one "
            "metric, got median; diagnoses need no objective; write early_stop: auto"
        ),
    ),
    (
        {"early_terminate": {"type": "hyperband", "min_iter": 3}},
        (
            "early_stop.rules.0: expected no pruner with several objectives, because pruners compare trials by one "
            "metric, got successive_halving; diagnoses need no objective; write early_stop: auto"
        ),
    ),
]


@pytest.mark.parametrize(("keys", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_each_mistake_says_what_to_write(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, **keys)
    assert [str(mistake).split(": ", 1)[1] for mistake in error.value.mistakes] == [message]


def test_the_schema_accepts_objectives_and_constraints() -> None:
    data = file(method="nsga3", population_size=4, constraints=[{"name": "memory_gb", "max": 16}])
    jsonschema.validate(data, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(file(objectives=[{"goal": "minimize"}]), schema())


def test_other_objectives_would_change_the_trials_that_ran() -> None:
    old = SweepSpec.from_json(file())
    for keys in (
        {"objectives": list(reversed(BOTH))},
        {"objectives": None, "metric": {"name": "loss/val", "at": "last"}},
        {"constraints": [{"name": "a", "max": 1}]},
    ):
        changes = changes_between(old, SweepSpec.from_json(file(**keys)))
        assert len(changes.conflicts) == 1, changes
        assert not changes.additions
    assert changes_between(old, SweepSpec.from_json(file())).conflicts == ()


def test_a_reproduction_has_the_objectives_and_is_a_valid_file(tmp_path: Path) -> None:
    spec = loaded(tmp_path, method="nsga2", population_size=4, constraints=[{"name": "a", "max": 1}])
    one = sweep_of_trial(spec, params={"lr": 1e-3}, data={}, seed=1, stopped=False)
    (tmp_path / "one.yaml").write_text(reproduction_as_file(one))
    again = load(tmp_path / "one.yaml", has_cuda=False, trainers={})
    assert (again.objectives, again.constraints) == (spec.objectives, spec.constraints)
    assert again == one
