"""The JSON Schema of sweep files: it takes what `load` takes, and marks what an editor can see to be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from sweeper.config import load
from sweeper.config.read.node import plain
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.config.write.schema import schema
from sweeper.errors import UsageError
from sweeper.rules.settings import RULES
from tests.config.conftest import TRAINERS
from tests.config.read.test_properties import SPECS

EXPERIMENTS = sorted((Path(__file__).parents[3] / "experiments").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(schema())

SMALL = """
name: a
program: train.py
method: random
run_cap: 4
metric: {name: loss}
"""


def data(text: str) -> Any:
    root, mistakes = parsed(text, TextSource("sweep.yaml"))
    assert not mistakes
    return plain(root)


def complaints(text: str) -> list[str]:
    return [".".join(map(str, error.absolute_path)) for error in VALIDATOR.iter_errors(data(text))]


def marked(text: str) -> str:
    """Where an editor sees the mistake that says most."""
    error = jsonschema.exceptions.best_match(VALIDATOR.iter_errors(data(text)))
    assert error is not None
    return ".".join(map(str, error.absolute_path))


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_shipped_files_are_valid_and_name_the_schema(path: Path) -> None:
    text = path.read_text()
    assert complaints(text) == []
    assert text.startswith("# yaml-language-server: $schema=")


@pytest.mark.parametrize(
    "more",
    [
        "parameters: {a: {values: [1, x, null, [2, 3]]}, b: {min: 0, max: 1}, c: {min: 1, max: 9, q: 2}}",
        "parameters: {a: {value: 1, distribution: constant}, b: {values: [1], distribution: categorical}}",
        "parameters: {a: {distribution: normal, mu: 1, sigma: 2}, b: {distribution: q_beta, a: 2, q: 0.1}}",
        "parameters: {a: {values: [1, 2], probabilities: [0.1, 0.9], distribution: categorical_w_probabilities}}",
        "parameters: {o: {parameters: {lr: {min: 1e-5, max: 1e-3, distribution: log_uniform_values}}}}",
        "parameters: {a: {values: [x, y]}, b: {value: 1, when: {a: x}}, c: {value: 1, when: {a: [x, y]}}}",
        "early_stop: {rules: [{any: {of: [{stalled: {}}, {all: {of: [{non_finite: {}}]}}]}}, {median: {}}]}",
        "early_stop: auto",
        "early_stop: {rules: auto, mode: observe}",
        "early_stop: {rules: [auto, {median: {}}, {vanishing_gradient: {below: 0.01}}]}",
        "early_stop: null\nprofiles: {a: {early_stop: auto}}",
        "early_stop: {rules: [{patient: {wrapped: {percentile: {percentile: 10}}}}]}",
        "executor: ray",
        "executor: {type: slurm, partition: gpu, time: 90}",
        "resources: {gpus: 0.25, gpu_memory_gb: measured}",
        "metrics: {a: {tensorboard: x}, b: {wandb: {key: x, file: w/*}}, c: {output: '()'}}",
        "metrics: {a: {output: {regex: '()'}}}",
        "metrics: {a: {csv: x}, b: {csv: {file: [a, b], column: x, step: y}}, c: {json: x}, d: {json: {key: x}}}",
        "profiles: {a: {when: cuda, parameters: {lr: {value: 1}}, resources: {gpus: 1}}, b: {}}",
    ],
)
def test_every_file_that_load_accepts_is_valid_by_the_schema(more: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SMALL + more)
    load(path, has_cuda=False, trainers=TRAINERS)
    assert complaints(SMALL + more) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ("metrics: {name: x}", "metrics.name"),
        ("metrics: {m: {tensorbaord: x}}", "metrics.m"),
        ("metrics: {m: {csv: {file: a.csv}}}", "metrics.m.csv"),
        ("method: gird", "method"),
        ("seeds: [-1]", "seeds.0"),
        ("parameters: {lr: {value: 1, values: [2]}}", "parameters.lr"),
        ("parameters: {lr: 3e-4}", "parameters.lr"),
        ("early_stop: atuo", "early_stop"),
        ("early_stop: {rules: atuo}", "early_stop.rules"),
        ("early_stop: {rules: [atuo]}", "early_stop.rules.0"),
        ("early_stop: {rules: [stalled]}", "early_stop.rules.0"),
        ("early_stop: {rules: [{stalled: {belw: 1}}]}", "early_stop.rules.0.stalled"),
        ("early_stop: {rules: [{stalled: {below: 2}}]}", "early_stop.rules.0.stalled.below"),
        ("profiles: {a: {when: gpu}}", "profiles.a.when"),
        ("profile: a", ""),
    ],
)
def test_mistakes_are_marked_where_they_stand(more: str, where: str) -> None:
    key = more.split(":", maxsplit=1)[0]
    kept = "\n".join(line for line in SMALL.splitlines() if not line.startswith(f"{key}:"))
    assert marked(f"{kept}\n{more}") == where


def test_every_rule_is_described() -> None:
    made = schema()
    rules = made["$defs"]["Rule"]["properties"]
    assert rules.keys() == RULES.keys()
    assert all(made["$defs"][rule["$ref"].rpartition("/")[2]]["description"] for rule in rules.values())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=SPECS)
def test_any_file_that_load_takes_is_valid(written: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.dump({"run_cap": 3, **written}, allow_unicode=True))
    try:
        load(path, has_cuda=False, trainers=TRAINERS)
    except UsageError:
        return
    assert complaints(path.read_text()) == []
