"""Sweep files as people have them for W&B: run as they are, and what means nothing here is said."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweeper.config import (
    Choice,
    Constant,
    Distribution,
    EarlyStop,
    Goal,
    Method,
    Metric,
    Range,
    SuccessiveHalving,
    SweepSpec,
    load,
)
from sweeper.config.read.node import plain
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.config.write.schema import schema
from sweeper.errors import SpecError
from sweeper.rules.settings import PRESET

VALIDATOR = jsonschema.Draft202012Validator(schema())

BAYES = """\
    # the first example of W&B's documentation
    program: train.py
    name: sweepdemo
    method: bayes
    project: first-sweep
    entity: my-team
    metric:
      goal: minimize
      name: validation_loss
      target: 0.1
    run_cap: 20
    parameters:
      learning_rate:
        min: 0.0001
        max: 0.1
      batch_size:
        values: [16, 32, 64]
      epochs:
        values: [5, 10, 15]
      optimizer:
        values: ["adam", "sgd"]
"""
HYPERBAND = """\
    # one that stops early, on the local controller
    program: train.py
    description: tune the base
    method: grid
    controller:
      type: local
    metric: {name: loss_metric, goal: maximize}
    early_terminate:
      type: hyperband
      max_iter: 27
      s: 2
      strict: true
    parameters:
      epochs: {value: 27}
      base: {values: [10, 15, 20]}
"""
DISTRIBUTIONS = """\
    # ranges in all the words that W&B has for them
    program: train.py
    command: ["${env}", python3, "${program}", -b, your-training-config, "${args}"]
    method: random
    run_cap: 8
    early_terminate: {type: hyperband, min_iter: 3}
    metric: {name: loss}
    parameters:
      lr: {distribution: log_uniform, min: -9.21, max: -2.3}
      momentum: {distribution: inv_log_uniform, min: 0.1, max: 2.3}
      decay: {distribution: inv_log_uniform_values, min: 1e-4, max: 0.1}
      width: {distribution: q_log_uniform, min: 2, max: 6, q: 8}
      batch_size: {distribution: q_log_uniform_values, q: 8, min: 32, max: 256}
      layers: {distribution: int_uniform, min: 1, max: 8}
      dropout: {distribution: uniform, min: 0.1, max: 0.5}
      activation: {distribution: categorical, values: [relu, gelu]}
      epochs: {distribution: constant, value: 3}
"""
NESTED = """\
    # nested parameters, and neither a name nor a metric
    program: train.py
    command: [python, train.py, "${args_json}"]
    method: grid
    kind: sweep
    apiVersion: "1"
    parameters:
      optimizer:
        parameters:
          learning_rate: {values: [0.01, 0.001]}
          momentum: {value: 0.9}
      fc_layer_size: {values: [128, 256]}
"""


def loaded(text: str, folder: Path, name: str = "sweep.yaml") -> tuple[SweepSpec, list[str]]:
    path = folder / name
    path.write_text(textwrap.dedent(text))
    notes: list[str] = []
    spec = load(path, has_cuda=False, trainers={}, say=notes.append)
    return spec, [note.removeprefix(str(path)) for note in notes]


def test_wandbs_first_example_runs_and_unused_keys_are_reported_with_their_lines(tmp_path: Path) -> None:
    spec, notes = loaded(BAYES, tmp_path)
    assert (spec.name, spec.program, spec.method, spec.run_cap) == ("sweepdemo", "train.py", Method.BAYES, 20)
    assert spec.metric == Metric(name="validation_loss", goal=Goal.MINIMIZE, target=0.1)
    assert spec.parameters["learning_rate"] == Range(distribution=Distribution.UNIFORM, min=0.0001, max=0.1)
    assert notes == [
        ":6: entity is not used: it is for W&B's server",
        ":5: project is not used: it is for W&B's server",
    ]


@pytest.mark.parametrize(
    ("given", "read"), [("worst", "worst"), ("best", "best"), ("latest", "latest"), ("off", "off"), ("false", "off")]
)
def test_impute_is_read(tmp_path: Path, given: str, read: str) -> None:
    """`false` is what W&B writes for the related key."""
    spec, notes = loaded(BAYES.replace("target: 0.1", f"impute: {given}"), tmp_path)
    assert spec.metric.impute == read
    assert not [note for note in notes if "impute" in note]
    assert SweepSpec.from_json(spec.to_json()) == spec


def test_an_unknown_impute_is_a_mistake_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"(?s)sweep.yaml:10.*metric.impute.*worst.*best.*latest.*off"):
        loaded(BAYES.replace("target: 0.1", "impute: wrost"), tmp_path)


def test_hyperband_is_translated_to_successive_halving_with_the_same_rungs(tmp_path: Path) -> None:
    spec, notes = loaded(HYPERBAND, tmp_path, "base.yaml")
    assert spec.early_stop == EarlyStop(rules=(SuccessiveHalving(rungs=(3, 9), reduction_factor=3),))
    assert (spec.name, spec.description) == ("base", "tune the base")
    assert notes == [
        ":5: controller is not used: sweeper run is the controller",
        (
            ":8: early_terminate is translated to early_stop: {rules: [{successive_halving: {rungs: [3, 9], "
            "reduction_factor: 3}}]}; strict is not used: one in eta trials of each rung continues"
        ),
        ": name is not given, so the sweep is named after its file: base",
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("min_iter: 3", {"min_resource": 3, "reduction_factor": 3}),
        ("min_iter: 2, eta: 2", {"min_resource": 2, "reduction_factor": 2}),
        ("max_iter: 10, s: 2, eta: 3", {"rungs": (1, 3), "reduction_factor": 3}),
        ("max_iter: 100, s: 2, eta: 2", {"rungs": (25, 50), "reduction_factor": 2}),
        ("max_iter: 8, s: 99, eta: 2", {"rungs": (1, 2, 4), "reduction_factor": 2}),
        ("max_iter: 300, s: 2, eta: 3, min_iter: 3", {"rungs": (33, 100), "reduction_factor": 3}),
        ("max_iter: 300, min_iter: 3", {"min_resource": 3, "reduction_factor": 3}),
    ],
)
def test_the_rungs_are_those_of_wandb(tmp_path: Path, settings: str, expected: dict[str, Any]) -> None:
    text = HYPERBAND.replace("max_iter: 27\n      s: 2", settings.replace(", ", "\n      "))
    spec, _ = loaded(text, tmp_path)
    assert spec.early_stop == EarlyStop(rules=(SuccessiveHalving(**expected),))


def test_distributions_of_exponents_are_translated_to_distributions_of_values(tmp_path: Path) -> None:
    spec, notes = loaded(DISTRIBUTIONS, tmp_path)
    log, steps = Distribution.LOG_UNIFORM, Distribution.Q_LOG_UNIFORM
    assert spec.parameters["lr"] == Range(distribution=log, min=math.exp(-9.21), max=math.exp(-2.3))
    assert spec.parameters["momentum"] == Range(distribution=log, min=math.exp(-2.3), max=math.exp(-0.1))
    assert spec.parameters["decay"] == Range(distribution=log, min=1e-4, max=0.1)
    assert spec.parameters["width"] == Range(distribution=steps, min=math.exp(2), max=math.exp(6), q=8)
    assert spec.parameters["activation"] == Choice(values=("relu", "gelu"))
    assert spec.parameters["epochs"] == Constant(value=3)
    assert ":9: parameters.lr is translated from log_uniform to log_uniform_values from 0.0001 to 0.1" in notes


def test_name_and_metric_are_optional(tmp_path: Path) -> None:
    spec, notes = loaded(NESTED, tmp_path, "My sweep (2).yaml")
    assert (spec.name, spec.metric) == ("My-sweep-2", Metric(name="loss/train"))
    assert list(spec.parameters) == ["optimizer.learning_rate", "optimizer.momentum", "fc_layer_size"]
    assert notes[-2:] == [
        ": metric is not given, so trials are ranked by their lowest loss/train; write metric: {name: ..., goal: ...}",
        ":2: program is not used: command does not contain ${program}",
    ]


@pytest.mark.parametrize("early_stop", ["auto", "{rules: auto}", "{rules: [auto, {plateau: {}}]}"])
def test_the_preset_needs_no_metric(early_stop: str, tmp_path: Path) -> None:
    spec, _ = loaded(f"{NESTED}    early_stop: {early_stop}\n", tmp_path)
    assert spec.metric == Metric(name="loss/train")
    assert spec.early_stop is not None
    assert spec.early_stop.rules[: len(PRESET)] == PRESET


@pytest.mark.parametrize("text", [BAYES, HYPERBAND, DISTRIBUTIONS, NESTED])
def test_an_editor_that_has_the_schema_takes_it_too(text: str) -> None:
    root, _ = parsed(textwrap.dedent(text), TextSource("sweep.yaml"))
    assert list(VALIDATOR.iter_errors(plain(root))) == []


WRONG = [
    ("method: custom", "method: expected grid, random, bayes, tpe, gp, cmaes, qmc, nsga2, nsga3 or pbt, got 'custom'"),
    ("method: bayes\nrun_cap: 3", "metric: expected a value, because the key is required, got nothing"),
    ("early_stop: {rules: [{median: {}}]}", "metric: expected a value, because the key is required, got nothing"),
    ("early_terminate: {type: envelope}", "early_terminate.type: expected hyperband, W&B's only type, got 'envelope'"),
    ("early_terminate: {type: hyperband}", "early_terminate: expected min_iter, or max_iter and s, got type"),
    (
        "early_terminate: {type: hyperband, min_iter: 1, eta: 1.5}",
        "early_terminate.eta: expected a whole number of 2 or more, got 1.5",
    ),
    (
        "early_terminate: {type: hyperband, min_iter: 1, bands: 2}",
        "early_terminate.bands: expected one of type, min_iter, max_iter, s, eta or strict, got an unknown key",
    ),
    (
        "early_terminate: {type: hyperband, max_iter: 2, s: 1}",
        "early_terminate.max_iter: expected eta or more, got 2",
    ),
    (
        "early_terminate: {type: hyperband, min_iter: 1}\nearly_stop: auto",
        "early_terminate: expected only one of early_stop and W&B's early_terminate, got both",
    ),
    ("job: a/b:latest", "job: expected a key of the sweep, got a key of W&B only; write command or program"),
    ("metrics: [{name: a}, {name: b}]", "metrics: expected a key of the sweep, got a key of W&B only; write metric:"),
    (
        "scheduler: {engine: optuna}",
        "scheduler: expected a key of the sweep, got a key of W&B only; write method: tpe",
    ),
    (
        "parameters: {a: {values: [1, 2], probabilities: [0.1, 0.9]}}",
        "parameters.a.probabilities: expected values without probabilities in a grid, got them; a grid tries every",
    ),
    (
        "parameters: {a: {distribution: beta, a: 1, b: 2}}",
        "got beta; it has infinitely many values, which need another method, such as random or tpe",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text for text, _ in WRONG])
def test_unsupported_keys_are_reported_with_what_to_write_instead(tmp_path: Path, text: str, message: str) -> None:
    head = "" if "method:" in text else "method: grid\n"
    metric = "metric: {name: loss}\n" if "early_terminate" in text else ""
    with pytest.raises(SpecError) as error:
        loaded(f"program: train.py\n{head}{metric}{text}\n", tmp_path)
    [line] = str(error.value).splitlines()
    assert message in line
