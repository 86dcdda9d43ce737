"""Which changes of a file add trials, and which would change those that ran."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.config import Changes, SweepSpec, changes_between
from tests.config.conftest import sweep

RANGE = {"method": "random", "run_cap": 3}


def spec(**keys: Any) -> SweepSpec:
    return SweepSpec.from_json(sweep(**keys))


def parameters(**given: Any) -> dict[str, Any]:
    return {"parameters": given}


ADDITIONS = [
    ({}, {}, []),
    (
        parameters(lr={"values": [1e-4, 3e-4]}),
        parameters(lr={"values": [3e-4, 1e-3, 1e-4, 1e-2]}),
        ["parameters.lr.values: added 1e-3", "parameters.lr.values: added 0.01"],
    ),
    (parameters(lr={"value": 1}), parameters(lr={"values": [1, 2]}), ["parameters.lr.values: added 2"]),
    (parameters(lr={"value": 1}), parameters(lr={"values": [1.0]}), []),
    ({"seeds": [0]}, {"seeds": [1, 0, 2]}, ["seeds: added 1", "seeds: added 2"]),
    ({"run_cap": 3}, {"run_cap": 5}, ["run_cap: 5 instead of 3"]),
    (
        {"budget": {"hours": 2}},
        {"budget": {"hours": 1, "trials": 4}},
        [
            (
                "budget: {trials: 4, hours: 1.0, gpu_hours: nothing} "
                "instead of {trials: nothing, hours: 2.0, gpu_hours: nothing}"
            ),
        ],
    ),
    ({"run_cap": 3}, {}, ["run_cap: nothing instead of 3"]),
    ({"metric": {"name": "m"}}, {"metric": {"name": "m", "impute": "off"}}, ["metric.impute: off instead of worst"]),
    ({"metric": {"name": "m"}}, {"metric": {"name": "m", "target": 0.1}}, ["metric.target: 0.1 instead of nothing"]),
    (
        {},
        {"resume_args": ["${trial:dir}/a"]},
        ["resume_args: {args: ['${trial:dir}/a'], if_exists: nothing} instead of nothing"],
    ),
    (
        {},
        {"metrics": {"f1": {"csv": {"column": "f1", "file": ["a.csv"]}}}},
        ["metrics.f1: {csv: {column: 'f1', file: ['a.csv']}} instead of nothing"],
    ),
    ({}, {"description": "new"}, ["description: 'new' instead of nothing"]),
    (
        {},
        {"figures": {"every_steps": 5}},
        [
            (
                "figures: {every_steps: 5, max_layers: 75, most_runs: 500} instead of "
                "{every_steps: 30, max_layers: 75, most_runs: 500}"
            )
        ],
    ),
    (
        {},
        {"resources": {"cpus": 1}},
        [
            (
                "resources: {gpus: nothing, cpus: 1, gpu_memory_gb: nothing} "
                "instead of {gpus: nothing, cpus: nothing, gpu_memory_gb: nothing}"
            )
        ],
    ),
    ({}, {"checkpoint": {"every_minutes": 1}}, ["checkpoint: {every_minutes: 1.0} instead of {every_minutes: 10.0}"]),
    (
        {},
        {"executor": {"type": "slurm", "partition": "gpu"}},
        [
            (
                "executor: {type: 'slurm', partition: 'gpu', account: nothing, qos: nothing, gres: nothing, "
                "time: nothing, array_parallelism: nothing} instead of {type: 'local'}"
            ),
        ],
    ),
    ({"profile": "a"}, {"profile": "b"}, ["profile: 'b' instead of 'a'"]),
]


CONFLICTS = [
    (
        parameters(a={"values": [1, 2]}, b={"value": 3, "when": {"a": 1}}),
        parameters(a={"values": [1, 2]}, b={"value": 3, "when": {"a": [1, 2]}}),
        ["parameters.b.when: {a: [1, 2]} instead of {a: [1]}"],
    ),
    (
        RANGE | parameters(x={"min": 0.1, "max": 0.5, "q": 0.1}),
        RANGE | parameters(x={"min": 0.1, "max": 0.5, "q": 0.2}),
        ["parameters.x: q_uniform from 0.1 to 0.5 by 0.2 instead of q_uniform from 0.1 to 0.5 by 0.1"],
    ),
    (parameters(lr={"values": [1, 2]}), parameters(lr={"value": 1}), ["parameters.lr.values: removed 2"]),
    (parameters(lr={"value": 1}), parameters(lr={"value": True}), ["parameters.lr.values: removed 1"]),
    (parameters(lr={"value": 1}), parameters(), ["parameters.lr: removed, was 1"]),
    (parameters(), parameters(lr={"values": [1, 2]}), ["parameters.lr: new, one of [1, 2]"]),
    (
        parameters(n={"min": 1, "max": 2}),
        parameters(n={"min": 1, "max": 3}),
        ["parameters.n: int_uniform from 1 to 3 instead of int_uniform from 1 to 2"],
    ),
    (
        {**RANGE, **parameters(lr={"min": 0.1, "max": 1})},
        {**RANGE, **parameters(lr={"min": 0.1, "max": 2})},
        ["parameters.lr: uniform from 0.1 to 2 instead of uniform from 0.1 to 1"],
    ),
    (
        {**RANGE, **parameters(lr={"values": [1]})},
        {**RANGE, **parameters(lr={"values": [1, 2]})},
        ["parameters.lr: one of [1, 2] instead of one of [1]"],
    ),
    ({"seeds": [0, 1]}, {"seeds": [0]}, ["seeds: removed 1"]),
    (
        {},
        {"metric": {"name": "loss", "at": "last"}},
        ["metric.at: 'last' instead of 'best'"],
    ),
    (
        {},
        {"early_stop": {}},
        ["early_stop: auto instead of nothing"],
    ),
    (
        {"early_stop": {"rules": [{"stalled": {"below": 1e-3, "loss": "none"}}, {"median": {}}]}},
        {"early_stop": {"mode": "observe", "rules": "auto"}},
        [
            (
                "early_stop: {mode: 'observe', rules: auto} instead of "
                "{rules: [{stalled: {below: 1e-3, loss: 'none'}}, {median: {}}]}"
            )
        ],
    ),
    (
        {"early_stop": {"rules": ["auto", {"any": [{"stalled": {}}]}]}},
        {"early_stop": {"audit": 0.1, "rules": []}},
        ["early_stop: {audit: 0.1, rules: []} instead of {rules: [auto, {any: {of: [{stalled: {}}]}}]}"],
    ),
    ({}, {"watch": "auto"}, ["watch: 'auto' instead of nothing"]),
    ({}, {"dataset": "a"}, ["dataset: ['a'] instead of nothing"]),
    ({}, {"tokenizer": ["a", "b"]}, ["tokenizer: ['a', 'b'] instead of nothing"]),
    (
        {},
        {"trainer": None, "program": "x.py"},
        ["trainer: nothing instead of 'text-classification'", "program: 'x.py' instead of nothing"],
    ),
    ({}, {"method": "random"}, ["method: 'random' instead of 'grid'"]),
    ({}, {"name": "other"}, ["name: 'other' instead of 'small'"]),
    (
        {"profile": "a", **parameters(lr={"value": 1})},
        {"profile": "b", **parameters(lr={"values": [2]})},
        ["profile: 'b' instead of 'a'", "parameters.lr.values: removed 1"],
    ),
]


@pytest.mark.parametrize(("old", "new", "sentences"), ADDITIONS)
def test_addition_leaves_the_trials_that_ran_as_they_are(old: Any, new: Any, sentences: list[str]) -> None:
    assert changes_between(spec(**old), spec(**new)) == Changes(additions=tuple(sentences))


@pytest.mark.parametrize(("old", "new", "sentences"), CONFLICTS)
def test_conflict_would_have_changed_trials_that_ran(old: Any, new: Any, sentences: list[str]) -> None:
    assert changes_between(spec(**old), spec(**new)).conflicts == tuple(sentences)


def test_another_source_of_a_metric_is_a_conflict_unless_no_trial_has_a_value_of_it() -> None:
    old = spec(metrics={"f1": {"csv": {"column": "f1"}}, "kept": {"output": "(.+)"}})
    new = spec(metrics={"f1": {"json": {"key": "f1"}}, "kept": {"output": "(.+)"}})
    change = "metrics.f1: {json: {key: 'f1'}} instead of {csv: {column: 'f1'}}"
    assert changes_between(old, new) == Changes(conflicts=(change,))
    assert changes_between(old, new, unread={"f1"}) == Changes(additions=(change,))
    gone = spec(metrics={"kept": {"output": "(.+)"}})
    assert changes_between(old, gone).conflicts == ("metrics.f1: nothing instead of {csv: {column: 'f1'}}",)
