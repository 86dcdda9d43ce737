"""Every mistake in a sweep file, word for word."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from sweeper.config import SweepSpec, load
from sweeper.errors import SpecError, UsageError
from sweeper.rules.settings import RULES
from tests.config.conftest import Load

SECTIONS = ("metric", "early_stop", "resources", "budget", "checkpoint", "retry", "figures", "notify", "executor")
MORE_RULES = f"{len(RULES) - 3} more (`sweeper schema` lists them)"

HEAD = """\
name: small
trainer: text-classification
method: grid
metric: {name: loss}
"""

AFTER_HEAD = [
    # parameters
    (
        "parameters: {lr: 3}",
        "parameters.lr: expected a mapping with value, values, or min and max, got 3; write {value: 3}",
    ),
    (
        "parameters: {lr: [1, 2]}",
        "parameters.lr: expected a mapping with value, values, or min and max, got [1, 2]; write {values: [1, 2]}",
    ),
    (
        "parameters: {lr: {vlaues: [1]}}",
        "parameters.lr: expected one of value, values, or min and max, got vlaues; did you mean values?",
    ),
    ("parameters: {lr: {}}", "parameters.lr: expected one of value, values, or min and max, got an empty mapping"),
    (
        "parameters: {lr: {value: 1, values: [2]}}",
        "parameters.lr: expected only one of value, values, or min and max, got value and values",
    ),
    (
        "parameters: {lr: {value: 1, foo: 2}}",
        (
            "parameters.lr.foo: expected one of value, values, probabilities or 9 more (`sweeper schema` lists them), "
            "got an unknown key"
        ),
    ),
    ("parameters: {lr: {values: []}}", "parameters.lr.values: expected at least one entry, got []"),
    ("parameters: {lr: {values: [1, 1.0]}}", "parameters.lr.values: expected each value only once, got 1.0 twice"),
    ("parameters: {lr: {values: [.nan]}}", "parameters.lr.values.0: expected a finite number, got nan"),
    ("parameters: {lr: {value: 1e999}}", "parameters.lr.value: expected a finite number, got inf"),
    (
        "parameters: {betas: {value: {a: .inf}}}",
        "parameters.betas.value: expected a finite number, got a mapping",
    ),
    (
        "parameters: {epochs: {min: 1, max: 1}}",
        "parameters.epochs.max: expected a number above min, which is 1, got 1",
    ),
    (
        "parameters: {epochs: {min: 1}}",
        "parameters.epochs.max: expected a value, because the key is required, got nothing",
    ),
    (
        "parameters: {lr: {min: 0.1, max: 1}}",
        (
            "parameters.lr: expected value, values, int_uniform or q_uniform in a grid, got min and max of uniform; "
            "a continuous range needs another method, such as random or tpe"
        ),
    ),
    (
        "parameters: {lr: {min: 1e-4, max: 0.1, distribution: log_uniform}}",
        (
            "parameters.lr: expected a supported distribution (uniform, log_uniform_values, int_uniform, "
            "q_uniform or q_log_uniform_values), got log_uniform; "
            "its bounds are exponents of e: write log_uniform_values, with the bounds of the values themselves"
        ),
    ),
    (
        "parameters: {lr: {distribution: normal, mu: 0, sigma: 1}}",
        (
            "parameters.lr: expected value, values, int_uniform or q_uniform in a grid, got normal; "
            "it has infinitely many values, which need another method, such as random or tpe"
        ),
    ),
    (
        "parameters: {lr: {min: 1, max: 2, distribution: q_unifrom}}",
        (
            "parameters.lr.distribution: expected uniform, log_uniform_values, int_uniform, q_uniform or "
            "q_log_uniform_values, got 'q_unifrom'; did you mean q_uniform?"
        ),
    ),
    (
        "parameters: {epochs: {min: 1, max: 2, q: 1, distribution: int_uniform}}",
        "parameters.epochs.q: expected no q for int_uniform, got 1; q_uniform takes one",
    ),
    (
        "parameters: {epochs: {min: 11, max: 19, q: 10}}",
        "parameters.epochs.q: expected a number with a multiple from 11 to 19, got 10",
    ),
    (
        "parameters: {lr: {value: 1, when: {epoch: 1}}, epochs: {value: 1}}",
        "parameters.lr.when.epoch: expected a parameter of this sweep, got epoch; did you mean epochs?",
    ),
    (
        "parameters: {lr: {value: 1, when: {epochs: [1, 3]}}, epochs: {values: [1, 2]}}",
        "parameters.lr.when.epochs: expected a value that epochs takes (1 or 2), got 3",
    ),
    (
        "parameters: {lr: {value: 1, when: {epochs: 1}}, epochs: {min: 1, max: 2}}",
        (
            "parameters.lr.when.epochs: expected a condition on a parameter with value or values, "
            "got a condition on a range"
        ),
    ),
    (
        "parameters: {lr: {value: 1, when: {epochs: 1}}, epochs: {value: 1, when: {lr: 1}}}",
        "parameters.epochs.when: expected a condition on other parameters, got a circle: epochs on lr on epochs",
    ),
    ("parameters: {lr: {value: 1, when: 3}}", "parameters.lr.when: expected a mapping, got 3"),
    ("parameters: {epochs: {min: 1, max: 2, q: x}}", "parameters.epochs.q: expected a number, got 'x'"),
    ("parameters: {epochs: {min: 1, max: 2, q: 0}}", "parameters.epochs.q: expected a number above 0, got 0"),
    (
        "parameters: {epochs: {min: 0.5, max: 2, distribution: int_uniform}}",
        "parameters.epochs.min: expected a whole number for int_uniform, got 0.5",
    ),
    (
        "parameters: {seed: {values: [1, 2]}}",
        (
            "parameters.seed: expected seeds under the key seeds, got a parameter named seed; "
            "write seeds: [0, 1, 2] beside parameters"
        ),
    ),
    (
        "parameters: {epoch: {value: 1}}",
        (
            "parameters.epoch: expected a hyperparameter of text-classification, got the unknown name epoch; "
            "did you mean epochs?"
        ),
    ),
    (
        "parameters: {dataset: {value: a}}",
        (
            "parameters.dataset: expected a dataset under the key dataset, got a parameter dataset; "
            "write dataset: [...] beside parameters"
        ),
    ),
    ("parameters: {epochs: {value: one}}", "parameters.epochs.value: expected a whole number for epochs, got 'one'"),
    (
        "parameters: {epochs: {values: [1, 1.5]}}",
        "parameters.epochs.values.1: expected a whole number for epochs, got 1.5",
    ),
    (
        "parameters: {pretrained: {value: no}}",
        "parameters.pretrained.value: expected true or false for pretrained, got 'no'",
    ),
    ("parameters: 3", "parameters: expected a mapping, got 3"),
    # sections
    ("seeds: []", "seeds: expected at least one entry, got []"),
    ("seeds: 3", "seeds: expected a list, got 3"),
    ("seeds: [1, true]", "seeds.1: expected a whole number, got true"),
    ("seeds: [1, -1]", "seeds.1: expected at least 0, got -1"),
    ("seeds: [1, 1]", "seeds: expected each value only once, got 1 twice"),
    ("run_cap: 0", "run_cap: expected at least 1, got 0"),
    ("budget: {trials: 0}", "budget.trials: expected at least 1, got 0"),
    ("budget: {hours: 0}", "budget.hours: expected a number above 0.0, got 0"),
    ("budget: {gpu_hours: .inf}", "budget.gpu_hours: expected a finite number, got inf"),
    (
        "budget: {hour: 1}",
        "budget.hour: expected one of trials, hours or gpu_hours, got an unknown key; did you mean hours?",
    ),
    ("retry: {max: -1}", "retry.max: expected at least 0, got -1"),
    ("retry: {backoff_s: .nan}", "retry.backoff_s: expected a finite number, got nan"),
    ("retry: {on: killed}", "retry.on: expected a list, got 'killed'"),
    (
        "retry: {on: [kiled]}",
        "retry.on.0: expected killed, lost, hung, oom, cuda-oom, not-found or error, got 'kiled'; did you mean killed?",
    ),
    ("retry: {on: [lost, lost]}", "retry.on: expected each value only once, got 'lost' twice"),
    (
        "retry: {tries: 3}",
        "retry.tries: expected one of max, on or backoff_s, got an unknown key",
    ),
    ("hang_after_s: 0", "hang_after_s: expected a number above 0.0, got 0"),
    ("output_limit_mb: 0", "output_limit_mb: expected at least 1.0, got 0"),
    ("resources: {gpus: -1}", "resources.gpus: expected a number of GPUs, such as 2 or 0.5, got -1"),
    ("resources: {gpus: true}", "resources.gpus: expected a number of GPUs, such as 2 or 0.5, got true"),
    ("resources: {gpus: .nan}", "resources.gpus: expected a number of GPUs, such as 2 or 0.5, got nan"),
    (
        "resources: {gpus: 1.5}",
        "resources.gpus: expected a whole number of GPUs, or a fraction from 0.001 to below 1, got 1.5",
    ),
    (
        "resources: {gpus: 1e-9}",
        "resources.gpus: expected a whole number of GPUs, or a fraction from 0.001 to below 1, got 1e-9",
    ),
    (
        "resources: {gpu_memory_gb: 0}",
        "resources.gpu_memory_gb: expected a number of gigabytes above 0, or measured, got 0",
    ),
    (
        "resources: {gpu_memory_gb: all}",
        "resources.gpu_memory_gb: expected a number of gigabytes above 0, or measured, got 'all'",
    ),
    (
        "resources: {gpus: 2, gpu_memory_gb: measured}",
        (
            "resources.gpu_memory_gb: expected gpus of 1 or less with measured, got gpus: 2; "
            "a trial with several GPUs does not share them"
        ),
    ),
    ("resources: {cpus: 0}", "resources.cpus: expected at least 1, got 0"),
    ("executor: rya", "executor: expected the type local, ray or slurm, got 'rya'; did you mean ray?"),
    ("executor: {type: 3}", "executor: expected the type local, ray or slurm, got 3"),
    (
        "executor: {address: auto}",
        "executor: expected local, ray or slurm, or a mapping with one of these as type, got a mapping",
    ),
    (
        "executor: {type: ray, adress: auto}",
        (
            "executor.adress: expected one of type, address, resources, work_dir or runtime_env, "
            "got an unknown key; did you mean address?"
        ),
    ),
    (
        "executor: {type: ray, address: 'ray://head:10001'}",
        (
            "executor.address: expected auto, or HOST:PORT of the cluster's head node, got 'ray://head:10001'; "
            "Ray Client is not supported: run sweeper on a node of the cluster, or by `ray job submit`"
        ),
    ),
    ("executor: {type: ray, resources: {a: 0}}", "executor.resources.a: expected a number above 0.0, got 0"),
    (
        "executor: {type: ray, work_dir: w}",
        "executor.work_dir: expected an absolute path, because every node uses it, got 'w'",
    ),
    (
        "executor: {type: slurm, time: soon}",
        (
            "executor.time: expected a number of minutes, or a time in sbatch's format, "
            "such as '90', '1:30:00' or '2-12', got 'soon'"
        ),
    ),
    (
        "profiles: {a: {when: cuda, executor: {type: slurm, partiton: gpu}}}",
        (
            "profiles.a.executor.partiton: expected one of type, partition, account, qos, gres, time or "
            "array_parallelism, got an unknown key; did you mean partition?"
        ),
    ),
    (
        "resources: {cpu: 1}",
        "resources.cpu: expected one of gpus, cpus or gpu_memory_gb, got an unknown key; did you mean cpus?",
    ),
    ("checkpoint: {every_minutes: 0}", "checkpoint.every_minutes: expected a number above 0.0, got 0"),
    ("checkpoint: {every_minutes: .inf}", "checkpoint.every_minutes: expected a finite number, got inf"),
    ("figures: {max_layers: 1}", "figures.max_layers: expected at least 2, got 1"),
    ("figures: {every_steps: 1.5}", "figures.every_steps: expected a whole number, got 1.5"),
    ("dataset: []\ntokenizer: [a, a]", "tokenizer: expected each value only once, got 'a' twice"),
    ("dataset: [a, '']", "dataset.1: expected text that is not empty, got ''"),
    ("description: 3", 'description: expected text, got 3; quote it: "3"'),
    (
        "early_stop: {rules: [{staled: {}}]}",
        (
            f"early_stop.rules.0: expected the name of a rule: stalled, saturated, input_scale or {MORE_RULES}, "
            "got 'staled'; did you mean stalled?"
        ),
    ),
    (
        "early_stop: {rules: [stalled]}",
        (
            "early_stop.rules.0: expected auto, or a mapping with one key, the rule's name: "
            f"stalled, all, saturated or {MORE_RULES}, "
            "got 'stalled'; write {stalled: {}}"
        ),
    ),
    (
        "early_stop: {rules: [atuo]}",
        (
            "early_stop.rules.0: expected auto, or a mapping with one key, the rule's name: "
            f"plateau, saturated, stuck or {MORE_RULES}, "
            "got 'atuo'; did you mean auto?"
        ),
    ),
    (
        "early_stop: {rules: [auto, {plateau: {}}, {plateu: {}}]}",
        (
            f"early_stop.rules.2: expected the name of a rule: plateau, patient, update_ratio or {MORE_RULES}, "
            "got 'plateu'; did you mean plateau?"
        ),
    ),
    (
        "early_stop: {rules: [{auto: {}}]}",
        (
            "early_stop.rules.0: expected the word auto without settings, got a mapping; "
            "write auto, and after it the rules to change"
        ),
    ),
    (
        "early_stop: {rules: [{all: [auto]}]}",
        (
            "early_stop.rules.0.all.of.0: expected a mapping with one key, the rule's name: "
            f"dead_units, non_finite, diverged or {MORE_RULES}, got 'auto'"
        ),
    ),
    ("early_stop: {rules: atuo}", "early_stop.rules: expected auto or a list of rules, got 'atuo'; did you mean auto?"),
    ("early_stop: {rules: {}}", "early_stop.rules: expected auto or a list of rules, got a mapping"),
    (
        "early_stop: {rules: stalled}",
        "early_stop.rules: expected auto or a list of rules, got 'stalled'; write [{stalled: {}}]",
    ),
    ("early_stop: {rules: [auto, auto]}", "early_stop.rules.1: expected auto only once, got auto twice"),
    (
        "early_stop: {rules: [{overfitting: {}}, {overfitting: {times: 2}}]}",
        "early_stop.rules.1: expected overfitting only once, got overfitting twice",
    ),
    (
        "early_stop: {rules: [auto, {non_finite: {}}, {non_finite: {patience: 1}}]}",
        "early_stop.rules.2: expected non_finite only once, got non_finite twice",
    ),
    (
        "early_stop: {rules: [{non_finite: {patience: 1}}, auto]}",
        (
            "early_stop.rules.0: expected non_finite only once, got non_finite before auto, which has non_finite too; "
            "list non_finite after auto, so that it replaces the one there"
        ),
    ),
    ("early_stop: atuo", "early_stop: expected auto or a mapping, got 'atuo'; did you mean auto?"),
    ("early_stop: true", "early_stop: expected auto or a mapping, got true; write auto"),
    (
        "early_stop: none",
        "early_stop: expected auto or a mapping, got 'none'; write null, so that no trial is stopped early",
    ),
    (
        "early_stop: false",
        "early_stop: expected auto or a mapping, got false; write null, so that no trial is stopped early",
    ),
    (
        "early_stop: stalled",
        "early_stop: expected auto or a mapping, got 'stalled'; write {rules: [{stalled: {}}]}",
    ),
    (
        "early_stop: [{stalled: {}}]",
        "early_stop: expected auto or a mapping, got [a mapping]; write {rules: [...]}",
    ),
    (
        "profiles: {a: {when: cuda, early_stop: atuo}}",
        "profiles.a.early_stop: expected auto or a mapping, got 'atuo'; did you mean auto?",
    ),
    (
        "early_stop: {rules: [{stalled: {window: 4}}]}",
        "early_stop.rules.0.stalled.window: expected an odd number, so that the median is an observation, got 4",
    ),
    (
        "early_stop: {rules: [{stalled: {windw: 5}}]}",
        (
            "early_stop.rules.0.stalled.windw: expected one of grace_steps, patience, every, window, below, "
            "ratio_of_start, loss or gain, got an unknown key; "
            "did you mean window?"
        ),
    ),
    (
        "early_stop: {rules: [{stalled: {below: 1}}]}",
        "early_stop.rules.0.stalled.below: expected a number below 1.0, got 1",
    ),
    (
        "early_stop: {rules: [{all: [{plateau: {}}, {median: {}}]}]}",
        "early_stop.rules.0.all.of: expected conditions on one trial, got the pruner median; list it beside this rule",
    ),
    (
        "early_stop: {rules: [{patient: {wrapped: {stalled: {}}}}]}",
        "early_stop.rules.0.patient.wrapped: expected a pruner, got the condition stalled",
    ),
    (
        "early_stop: {rules: [{threshold: {}}]}",
        "early_stop.rules.0.threshold: expected lower, upper or both, got a mapping",
    ),
    (
        "early_stop: {rules: [{hyperband: {reduction_factor: 1}}]}",
        "early_stop.rules.0.hyperband.reduction_factor: expected at least 2, got 1",
    ),
    (
        "early_stop: {rules: [{threshold: {lower: 2, upper: 1}}]}",
        "early_stop.rules.0.threshold: expected an upper that is not below lower, got lower: 2 and upper: 1",
    ),
    (
        "early_stop: {rules: [{hyperband: {bootstrap_count: 1}}]}",
        "early_stop.rules.0.hyperband: expected max_resource with bootstrap_count, got none; write max_resource: 10",
    ),
    (
        "early_stop: {rules: [{hyperband: {min_resource: 9, max_resource: 3}}]}",
        (
            "early_stop.rules.0.hyperband: expected a max_resource that is not below min_resource, "
            "got min_resource: 9 and max_resource: 3"
        ),
    ),
    (
        "early_stop: {rules: [{patient: {wrapped: {patient: {wrapped: {one_epoch: {}}}}}}]}",
        (
            "early_stop.rules.0.patient.wrapped.patient.wrapped: expected a pruner of Optuna, got one_epoch; "
            "list it beside patient"
        ),
    ),
    ("command: [python]", "command: expected only one of trainer, command and program, got trainer and command"),
    # profiles
    (
        "profile: cpu",
        "profile: expected a key of the sweep, got one that sweeper sets; choose a profile with --profile NAME",
    ),
    ("profiles: [cpu]", "profiles: expected a mapping of names to profiles, got ['cpu']"),
    ("profiles: {a: 3}", "profiles.a: expected a mapping, got 3"),
    ("profiles: {a: {when: gpu}}", "profiles.a.when: expected cuda or cpu, got 'gpu'; did you mean cuda?"),
    (
        "profiles: {a: {when: cuda, parameters: {lrr: {value: 1}}}}",
        (
            "profiles.a.parameters.lrr: expected a hyperparameter of text-classification, got the unknown name lrr; "
            "did you mean lr?"
        ),
    ),
    (
        "profiles: {a: {when: cpu, parameters: {lr: {value: x}}}}",
        "profiles.a.parameters.lr.value: expected a number for lr, got 'x'",
    ),
    # YAML
    ("method: grid", "method: expected the key only once, got a second one (the first: sweep.yaml:3)"),
    ("1: a", "expected a key that is text, got '1'; quote it: '1'"),
    ("description: !!binary aGk=", "description: expected a plain value, got the tag tag:yaml.org,2002:binary"),
    (
        "run_cap: 99999999999999999999",
        "run_cap: expected a whole number of at most 64 bits, got '99999999999999999999'",
    ),
    ("description: !!int x", "description: expected a whole number, got 'x'"),
    ('description: "\\ud800"', "description: expected text that can be written as UTF-8, got '\\ud800'"),
    (
        "  description: a",
        "expected YAML, got while parsing a block mapping, expected <block end>, but found '<block mapping start>'",
    ),
    (
        "early_terminate: {}",
        (
            "early_terminate.type: expected hyperband, W&B's only type, got nothing; "
            "write early_terminate: {type: hyperband, min_iter: 3}; "
            "early_stop: {rules: [...]} has median, percentile, hyperband and more"
        ),
    ),
]


@pytest.mark.parametrize(("text", "message"), AFTER_HEAD, ids=[text for text, _ in AFTER_HEAD])
def test_a_mistake_names_line_key_expected_and_actual_value(load_text: Load, text: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_text(f"{HEAD}{text}\n")
    [line] = str(error.value).splitlines()
    assert line.endswith(message)
    assert line.startswith("sweep.yaml:")
    assert error.value.mistakes[0].where in {f"sweep.yaml:{5 + n}" for n in range(text.count("\n") + 1)}


WHOLE = [
    ("", "sweep.yaml:1: expected a mapping with the keys of a sweep, got nothing"),
    ("- a", "sweep.yaml:1: expected a mapping with the keys of a sweep, got ['a']"),
    ("a: [", "sweep.yaml:1: expected YAML, got while parsing a flow node, "),
    ("a: *b", "sweep.yaml:1: expected YAML, got found undefined alias 'b'"),
    ("a: b\n---\nc: d", "sweep.yaml:2: expected YAML, got expected a single document in the stream, "),
    ("a: b\n\x07", "sweep.yaml:2: expected YAML, got the unprintable character '\\x07'"),
    (b"a: b\n\xff", "sweep.yaml:2: expected UTF-8 text, got 0xff"),
    ('a: "\\U00110000"', "sweep.yaml:1: expected YAML, got "),
    ("[" * 60_000, "sweep.yaml:1: expected a sweep of reasonable size, got more than 32 levels of nesting"),
    ("[" + "a," * 30_000, "sweep.yaml:1: expected a sweep of reasonable size, got more than 5,000 values"),
    ("a" * 1_000_001, "sweep.yaml: expected at most 1,000,000 bytes, got a larger file"),
    ("a: &a [*a]", "sweep.yaml:1: a: expected a sweep of reasonable size, got aliases that repeat"),
]


@pytest.mark.parametrize(("text", "message"), WHOLE, ids=[message[:60] for _, message in WHOLE])
def test_text_that_is_no_sweep_at_all(load_text: Load, text: str | bytes, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_text(text)
    assert str(error.value).startswith(message)


def test_alias_bomb_is_refused(load_text: Load) -> None:
    levels = "\n".join(f"k{n + 1}: &k{n + 1} [{', '.join([f'*k{n}'] * 10)}]" for n in range(20))
    with pytest.raises(SpecError, match="aliases that repeat"):
        load_text(f"k0: &k0 [a]\n{levels}\n")


def test_every_mistake_is_reported_at_once_in_the_order_of_lines(load_text: Load) -> None:
    text = """\
        name: //
        method: gird
        metric: {nam: loss}
        trainer: text-clasification
        parameters:
          lr: {min: 0.0, max: 1e-3, distribution: log_uniform_values}
        seeds: [0, 0]
        profiles:
          gpu: {when: cuda, seeds: x}
    """
    with pytest.raises(SpecError) as error:
        load_text(textwrap.dedent(text), "epoch=3", "=", profile="cpu")
    assert str(error.value).splitlines() == [
        (
            "sweep.yaml:1: name: expected a name of letters, digits and . _ + = - that "
            "begins with a letter or digit, got '//'; for example sweep"
        ),
        (
            "sweep.yaml:2: method: expected grid, random, bayes, tpe, gp, cmaes, qmc, nsga2, nsga3 or pbt, got 'gird'; "
            "did you mean grid?"
        ),
        "sweep.yaml:3: metric.name: expected a value, because the key is required, got nothing",
        (
            "sweep.yaml:3: metric.nam: expected one of name, goal, at, impute or target, got an unknown key; "
            "did you mean name?"
        ),
        (
            "sweep.yaml:4: trainer: expected a built-in trainer (text-classification), or a function as "
            "package.module:function, got 'text-clasification'; "
            "did you mean text-classification?"
        ),
        "sweep.yaml:6: parameters.lr.min: expected a number above 0 for log_uniform_values, got 0.0",
        "sweep.yaml:7: seeds: expected each value only once, got 0 twice",
        "sweep.yaml:9: profiles.gpu.seeds: expected a list, got 'x'",
        "command line: =: expected KEY=VALUE, got '='",
        "command line: epoch=3: expected a parameter or a key of the sweep, got 'epoch'; write +epoch=... to add it",
        "command line: --profile cpu: expected one of gpu, got 'cpu'; did you mean gpu?",
    ]


@pytest.mark.parametrize("name", ["..", ".", "-", "a\n", "a\x1b[31m", ""])
def test_name_that_is_no_safe_directory_is_refused(load_keys: Load, name: str) -> None:
    with pytest.raises(SpecError, match="name: expected a name"):
        load_keys(name=name)


def test_cmaes_is_refused_conditional_parameters(load_keys: Load) -> None:
    parameters = {"a": {"values": [1, 2]}, "b": {"min": 0.0, "max": 1.0, "when": {"a": 1}}}
    expected = "expected no conditional parameter with cmaes, got a condition; method: tpe supports them"
    expected = f"parameters.b.when: {expected}"
    with pytest.raises(SpecError, match=expected):
        load_keys(trainer=None, program="x", method="cmaes", run_cap=3, parameters=parameters)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "expected a trainer, a command or a program, got none of them"),
        ({"command": ["x", "${program}"]}, r"program: expected a program for \$\{program\} in command, got nothing"),
        (
            {"command": ["x", "${arg}"]},
            r"command.1: expected one of the macros \$\{args\}, .* more \(.*\), got '\$\{arg\}'; did you mean \$\{ar",
        ),
        ({"command": ["x y ${args}"]}, r"command.0: expected \$\{args\} as a word of its own, got 'x y \$\{args\}'"),
        (
            {"command": ["x"], "parameters": {"seed": {"values": [1, 2]}}},
            r'beside parameters, and add "--seed=\$\{trial:seed\}" to command if the script has this option',
        ),
        ({"command": ["x", None]}, "command.1: expected text, got null"),
        ({"command": []}, "command: expected at least one entry"),
        (
            {"command": ["x"], "dataset": "a"},
            "dataset: expected the key only with a built-in trainer, got no trainer",
        ),
        ({"program": "x", "parameters": {"a b": {"value": 1}}}, "parameters.a b: expected a name of letters"),
    ],
)
def test_exactly_one_of_trainer_command_and_program_is_required(
    load_keys: Load, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_keys(trainer=None, **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resume_args": "--resume ${trial:dir}/a"}, 'expected a list of arguments, .*; write \\["--resume", "'),
        ({"resume_args": ["--resume"]}, r"resume_args: expected an argument with the path .* contains \$\{trial:dir\}"),
        ({"resume_args": {"args": ["--resume"]}}, "resume_args.args: expected an argument with the path"),
        ({"resume_args": {"if_exists": "${trial:dir}/a"}}, "resume_args.args: expected a value, because the key is"),
        ({"resume_args": {"arg": ["a"]}}, "resume_args.arg: expected one of args or if_exists, .* did you mean args?"),
        ({"resume_args": []}, "resume_args.args: expected at least one entry"),
        ({"resume_args": ["${trial:dirr}/a"]}, r"resume_args.0: expected one of .*; did you mean \$\{trial:dir\}\?"),
        (
            {"command": ["x", "${resume_args}"]},
            r"command.1: expected the key resume_args for \$\{resume_args\}, got no",
        ),
        (
            {"command": ["x", "--out=${trial:directory}"]},
            r"command.1: expected one of \$\{trial:dir\}, .* did you mean",
        ),
        ({"command": ["x", "${trial:output}"]}, r"command.1: expected one of .*\$\{trial:dir\}"),
        ({"parameters": {"out": {"value": "${trial:id}"}}}, r"parameters.out.value: expected one of \$\{trial:dir\}"),
        ({"parameters": {"out": {"values": ["a", ["${trial:id}"]]}}}, "parameters.out.values.1.0: expected one of"),
    ],
)
def test_macros_of_a_trial_and_arguments_to_resume_are_checked(
    load_keys: Load, keys: dict[str, object], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        load_keys(trainer=None, **{"command": ["x"], **keys})


def test_a_trainer_takes_no_arguments_to_resume(load_keys: Load) -> None:
    with pytest.raises(SpecError, match="resume_args: expected the key only with command or program, got a trainer"):
        load_keys(resume_args=["${trial:dir}/a"])


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (["--resume", "${trial:dir}/last.pt"], "${trial:dir}/last.pt"),
        (["--resume=${trial:dir}/c-*", "--strict"], "${trial:dir}/c-*"),
        (["ckpt='${trial:dir}/a b.ckpt'"], "${trial:dir}/a b.ckpt"),
        (["--resume=out/${trial:name}/last.pt"], "out/${trial:name}/last.pt"),
        (["${trial:dir}/a", "${trial:dir}/b", "--lr=1"], "${trial:dir}/b"),
        ({"args": ["--resume"], "if_exists": "last.pt"}, "last.pt"),
    ],
)
def test_the_path_to_resume_from_is_that_of_the_last_argument_that_has_one(
    load_keys: Load, given: object, path: str
) -> None:
    spec = load_keys(trainer=None, command=["x"], resume_args=given)
    assert spec.resume_args is not None
    assert spec.resume_args.path == path
    assert SweepSpec.from_json(spec.to_json()) == spec


def test_an_unknown_macro_is_passed_to_the_program(load_keys: Load) -> None:
    assert load_keys(trainer=None, command=["x", "${HOME}"]).command == ("x", "${HOME}")


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_of_a_section_is_reported_with_the_known_keys(load_keys: Load, section: str) -> None:
    with pytest.raises(SpecError, match=rf"{section}.xyz: expected one of \w+.*, got an unknown key"):
        load_keys(**{section: {"xyz": 1} | ({"type": "ray"} if section == "executor" else {})})


def test_terminal_is_safe_from_a_hostile_file(load_text: Load) -> None:
    with pytest.raises(SpecError) as error:
        load_text(f'{HEAD}"\\e[31m": 1\ndescription: !<tag:\\e> 3\n')
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.yaml", "missing.yaml: expected a sweep file, but there is no such file"),
        (".", ".: expected a sweep file, got a directory"),
        ("a\0b", "a\\x00b: expected a sweep file, but it cannot be read: embedded null byte"),
    ],
)
def test_path_without_a_file_is_a_usage_error(path: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load(path, has_cuda=False, trainers={})
    assert str(error.value) == message


def test_byte_order_mark_and_dos_lines_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert load(path, has_cuda=False, trainers={"text-classification": {}}).name == "small"


def test_a_sweep_without_a_method_is_answered_with_the_methods(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("command: [a]\nparameters: {lr: {values: [1]}}\n")
    with pytest.raises(SpecError, match=r"method: expected a value.*; write grid, random, .* or pbt"):
        load(file, has_cuda=False, trainers={})


def test_an_unknown_key_of_a_sweep_is_answered_with_the_nearest_and_where_all_are(load_keys: Load) -> None:
    with pytest.raises(SpecError) as error:
        load_keys(parametres={"lr": {"value": 1}})
    (line,) = str(error.value).splitlines()
    assert "parametres: expected one of parameters, " in line
    assert line.endswith(" more (`sweeper schema` lists them), got an unknown key; did you mean parameters?")
    assert line.count(", ") == 3
