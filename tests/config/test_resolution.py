"""What a right file becomes: YAML 1.2 values, defaults, profiles, overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.config import (
    AnyOf,
    At,
    Choice,
    Constant,
    Distribution,
    EarlyStop,
    Goal,
    Median,
    Method,
    Mode,
    NonFinite,
    Plateau,
    Range,
    Stalled,
    SweepSpec,
    VanishingGradient,
    load,
)
from sweeper.errors import SpecError
from sweeper.mistakes import shown
from sweeper.rules import rules_of
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING
from sweeper.rules.settings import PRESET, written
from tests.config.conftest import Load

WARMUP = Path(__file__).parents[2] / "experiments" / "warmup.yaml"
NAMES: dict[str, object] = dict.fromkeys(
    (
        "lr warmup_fraction epochs batch_size clip bias_correction eps weight_decay pretrained hidden_size "
        "num_hidden_layers num_attention_heads max_length precision"
    ).split(),
)

SCALARS = [
    ("1e-4", 1e-4),
    ("1E5", 1e5),
    ("-.5", -0.5),
    ("1.", 1.0),
    ("0", 0),
    ("-7", -7),
    ("010", 10),
    ("0o17", 15),
    ("0x1F", 31),
    ("no", "no"),
    ("on", "on"),
    ("1:30", "1:30"),
    ("1_000", "1_000"),
    ("2024-01-01", "2024-01-01"),
    ("true", True),
    ("FALSE", False),
    ("~", None),
    ("null", None),
    ("'1'", "1"),
    ("!!str 1", "1"),
    ("!!float 1", 1.0),
    ("=", "="),
    ("[1, [a, true]]", (1, ("a", True))),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_values_follow_yaml_1_2(load_text: Load, text: str, value: object) -> None:
    spec = load_text(f"program: train.py\nmethod: grid\nparameters: {{x: {{value: {text}}}}}")
    parameter = spec.parameters["x"]
    assert isinstance(parameter, Constant)
    assert parameter.value == value
    assert type(parameter.value) is type(value)


def test_defaults_are_those_of_the_documentation(load_keys: Load) -> None:
    spec = load_keys()
    assert spec.method is Method.GRID
    assert (spec.metric.goal, spec.metric.at) == (Goal.MINIMIZE, At.BEST)
    assert (spec.seeds, spec.run_cap, spec.dataset, spec.tokenizer) == ((0,), None, (), ())
    assert (spec.early_stop, spec.resources.gpus, spec.resources.cpus) == (None, None, None)
    assert (spec.checkpoint.every_minutes, spec.figures.every_steps, spec.figures.max_layers) == (10, 30, 75)
    assert (spec.profile, spec.profile_description, spec.description) == (None, "", "")


STRICTER = tuple(NonFinite(patience=1) if isinstance(rule, NonFinite) else rule for rule in PRESET)


@pytest.mark.parametrize(
    ("section", "rules"),
    [
        ("auto", PRESET),
        ({}, PRESET),
        ({"mode": "observe"}, PRESET),
        ({"rules": "auto"}, PRESET),
        ({"rules": ["auto"]}, PRESET),
        ({"rules": ["auto", {"median": {}}]}, (*PRESET, Median())),
        ({"rules": [{"plateau": {}}, "auto", {"overfitting": {}}]}, (Plateau(), *PRESET, DIAGNOSES["overfitting"]())),
        ({"rules": ["auto", {"median": {}}, {"non_finite": {"patience": 1}}]}, (*STRICTER, Median())),
        ({"rules": []}, ()),
        ({"rules": [{"stalled": None}]}, (Stalled(),)),
        ({"rules": [{"stalled": {"window": 7}}]}, (Stalled(below=0.005, window=7, grace_steps=60),)),
    ],
)
def test_the_rules_are_those_listed_with_the_preset_in_place_of_auto(
    load_keys: Load, section: Any, rules: object
) -> None:
    spec = load_keys(early_stop=section)
    assert spec.early_stop is not None
    assert spec.early_stop.rules == rules
    assert SweepSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "rules",
    [
        [],
        ["auto"],
        [{"stalled": {"window": 7}}],
        [{"plateau": {}}, "auto", {"vanishing_gradient": {"below": 0.01}}, {"median": {}}],
        [{"non_finite": {}}, {"stuck": {}}],
    ],
)
def test_rules_are_written_as_they_were_given(load_keys: Load, rules: list[Any]) -> None:
    spec = load_keys(early_stop={"rules": rules})
    assert spec.early_stop is not None
    assert written(spec.early_stop.rules) == rules


def test_the_record_lists_the_diagnoses_of_the_preset_in_their_order(load_keys: Load) -> None:
    rules = load_keys(early_stop="auto").to_json()["early_stop"]["rules"]
    assert tuple(name for rule in rules for name in rule) == STOPPING
    assert all(settings for rule in rules for settings in rule.values())


def test_a_profile_and_an_override_may_take_the_preset(load_keys: Load) -> None:
    profiles = {"watched": {"when": "cpu", "early_stop": "auto"}}
    chosen = load_keys(early_stop={"rules": []}, profiles=profiles)
    overridden = load_keys("early_stop=auto")
    observed = load_keys("early_stop.mode=observe", early_stop="auto")
    assert chosen.early_stop == overridden.early_stop == EarlyStop() == EarlyStop(rules=PRESET)
    assert observed.early_stop == EarlyStop(mode=Mode.OBSERVE)
    assert load_keys("early_stop=null", early_stop="auto").early_stop is None


OLD_TIMING = {"grace_steps": 60, "patience": 1, "every": 1}
OLD_REACH = {"vanishing_gradient": {**OLD_TIMING, "window": 5, "below": 0.005, "of_start": None}}
OLD_FINITE = {"non_finite": {"grace_steps": 0, "patience": 3, "every": 1, "metric": "loss/train"}}
OLD_STALLED = {
    "stalled": {**OLD_TIMING, "window": 5, "below": 0.005, "ratio_of_start": 0.06, "loss": "auto", "gain": 0.02}
}


def test_a_record_of_version_0_1_0_is_read_with_the_rules_of_then(load_keys: Load) -> None:
    relative = {"vanishing_gradient": {**OLD_REACH["vanishing_gradient"], "of_start": 0.1}}
    either = {"any": {**OLD_TIMING, "of": [OLD_REACH, OLD_FINITE]}}
    rules = [OLD_STALLED, OLD_REACH, relative, OLD_FINITE, either]
    old = load_keys().to_json() | {
        "early_stop": {
            "mode": "act",
            "audit": 0.0,
            "most_false_prunes": 0.05,
            "keep_parked_gb": None,
            "rules": rules,
        }
    }
    spec = SweepSpec.from_json(old)
    assert spec.early_stop is not None
    timing = {"grace_steps": 60, "patience": 1, "every": 1}
    reach = VanishingGradient(**timing, below=0.005, window=5)
    finite = NonFinite(grace_steps=0, patience=3, every=1, metric="loss/train")
    assert spec.early_stop.rules == (
        Stalled(),
        reach,
        reach.model_copy(update={"of_start": 0.1}),
        finite,
        AnyOf(of=(reach, finite)),
    )
    assert SweepSpec.from_json(spec.to_json()) == spec
    assert len(rules_of(spec.early_stop)) == 3  # the health of the trial, `stalled` and `any`


def test_a_single_source_is_a_list_of_one(load_keys: Load) -> None:
    spec = load_keys(dataset="20newsgroups", tokenizer=["a", "b"])
    assert (spec.dataset, spec.tokenizer) == (("20newsgroups",), ("a", "b"))


@pytest.mark.parametrize(
    ("keys", "distribution"),
    [
        ({"min": 1, "max": 5}, Distribution.INT_UNIFORM),
        ({"min": 1, "max": 5.0}, Distribution.UNIFORM),
        ({"min": 1e-5, "max": 1, "distribution": "log_uniform_values"}, Distribution.LOG_UNIFORM),
        ({"min": 0.1, "max": 0.5, "q": 0.1}, Distribution.Q_UNIFORM),
    ],
)
def test_range_without_a_distribution_is_uniform_over_its_kind_of_number(
    load_keys: Load, keys: dict[str, object], distribution: Distribution
) -> None:
    spec = load_keys(method="random", run_cap=3, trainer=None, program="train.py", parameters={"x": keys})
    parameter = spec.parameters["x"]
    assert isinstance(parameter, Range)
    assert parameter.distribution is distribution


@pytest.mark.parametrize(
    ("keys", "plain"),
    [
        ({"distribution": "categorical", "values": [1, 2]}, {"values": [1, 2]}),
        ({"distribution": "constant", "value": 1}, {"value": 1}),
        (
            {"distribution": "q_uniform", "min": 1, "max": 5},
            {"distribution": "q_uniform", "min": 1, "max": 5, "q": 1},
        ),
    ],
)
def test_distributions_that_are_omitted_or_redundant_are_accepted(
    load_keys: Load, keys: dict[str, object], plain: dict[str, object]
) -> None:
    one, other = (load_keys(trainer=None, program="train.py", parameters={"x": x}) for x in (keys, plain))
    assert one.parameters == other.parameters


def test_command_may_hold_macros_and_name_its_program(load_keys: Load) -> None:
    command = ["${env}", "${interpreter}", "${program}", "${args}"]
    spec = load_keys(trainer=None, command=command, program="train.py")
    assert (spec.command, spec.program) == (tuple(command), "train.py")


PROFILES = {
    "big": {
        "when": "cuda",
        "description": "wide",
        "parameters": {"lr": {"value": 1.0}, "eps": {"value": 1e-8}},
        "seeds": [7],
        "resources": {"gpus": 1},
    },
    "bigger": {"when": "cuda", "seeds": [8]},
    "by-hand": {"seeds": [9]},
}


@pytest.mark.parametrize(
    ("profile", "has_cuda", "chosen", "seeds"),
    [
        (None, True, "big", (7,)),
        (None, False, None, (0,)),
        ("bigger", False, "bigger", (8,)),
        ("by-hand", True, "by-hand", (9,)),
    ],
)
def test_profile_is_the_one_named_or_the_first_for_the_machine(
    load_keys: Load, profile: str | None, has_cuda: bool, chosen: str | None, seeds: tuple[int, ...]
) -> None:
    spec = load_keys(profile=profile, has_cuda=has_cuda, profiles=PROFILES)
    assert (spec.profile, spec.seeds) == (chosen, seeds)


def test_profile_replaces_whole_parameters_and_whole_keys(load_keys: Load) -> None:
    parameters = {"lr": {"values": [1, 2]}, "epochs": {"value": 2}}
    spec = load_keys(has_cuda=True, profiles=PROFILES, parameters=parameters, resources={"cpus": 3})
    assert dict(spec.parameters) == {
        "lr": Constant(value=1.0),
        "epochs": Constant(value=2),
        "eps": Constant(value=1e-8),
    }
    assert list(spec.parameters) == ["lr", "epochs", "eps"]
    assert (spec.resources.gpus, spec.resources.cpus, spec.profile_description) == (1, None, "wide")


def test_profile_can_take_early_stopping_away(load_keys: Load) -> None:
    spec = load_keys(early_stop={}, profiles={"plain": {"when": "cpu", "early_stop": None}})
    assert spec.early_stop is None


OVERRIDES = [
    ("lr=1e-2", {"lr": Constant(value=1e-2)}),
    ("lr=[1e-2, 1]", {"lr": Choice(values=(1e-2, 1))}),
    ("lr=[1e-2]", {"lr": Choice(values=(1e-2,))}),
    ("lr={value: 2}", {"lr": Constant(value=2)}),
    ("epochs=1", {"lr": Choice(values=(1e-4, 3e-4)), "epochs": Constant(value=1)}),
    ("betas=[0.9, 0.99]", {"lr": Choice(values=(1e-4, 3e-4)), "betas": Constant(value=(0.9, 0.99))}),
    ("parameters.lr.values=[1e-5, 3e-5]", {"lr": Choice(values=(1e-5, 3e-5))}),
    ("parameters.lr.value=1e-5", {"lr": Constant(value=1e-5)}),
    ("parameters.lr={value: 1e-5}", {"lr": Constant(value=1e-5)}),
]


@pytest.mark.parametrize(("override", "parameters"), OVERRIDES)
def test_override_of_a_parameter(load_keys: Load, override: str, parameters: dict[str, object]) -> None:
    assert dict(load_keys(override).parameters) == parameters


def test_overrides_of_keys(load_keys: Load) -> None:
    spec = load_keys(
        "seeds=[0, 1]",
        "early_stop.rules=[]",
        "dataset=synthetic-topics",
        "metric.at=last",
        "resources.cpus=2",
        "run_cap=3",
        "run_cap=4",
        "description=a = b",
    )
    assert (spec.seeds, spec.dataset, spec.metric.at, spec.run_cap) == ((0, 1), ("synthetic-topics",), At.LAST, 4)
    assert (spec.resources.cpus, spec.description) == (2, "a = b")
    assert spec.early_stop is not None
    assert spec.early_stop.rules == ()


def test_override_reaches_into_a_rule(load_keys: Load) -> None:
    spec = load_keys("early_stop.rules.0.stalled.below=0.1", early_stop={"rules": [{"stalled": {"window": 3}}]})
    assert spec.early_stop is not None
    assert spec.early_stop.rules == (Stalled(below=0.1, window=3),)


def test_override_wins_over_the_profile(load_keys: Load) -> None:
    spec = load_keys("lr=5", "seeds=[3]", has_cuda=True, profiles=PROFILES)
    assert (spec.parameters["lr"], spec.seeds, spec.profile) == (Constant(value=5), (3,), "big")


def test_an_override_can_supply_a_missing_key(load_keys: Load) -> None:
    assert load_keys("run_cap=2", method="random").run_cap == 2


def test_override_narrows_a_range(load_keys: Load) -> None:
    ranged = {"lr": {"min": 1e-5, "max": 1e-1, "distribution": "log_uniform_values"}}
    spec = load_keys("parameters.lr.max=1e-3", method="bayes", run_cap=3, parameters=ranged)
    assert spec.parameters["lr"] == Range(min=1e-5, max=1e-3, distribution=Distribution.LOG_UNIFORM)


def test_parameter_with_dots_in_its_name_can_be_overridden(load_keys: Load) -> None:
    parameters = {"optimizer.lr": {"value": 1}}
    keys: dict[str, Any] = {"trainer": None, "program": "x.py", "parameters": parameters}
    assert load_keys("optimizer.lr=2", **keys).parameters["optimizer.lr"] == Constant(value=2)
    assert load_keys("parameters.optimizer.lr.value=3", **keys).parameters["optimizer.lr"] == Constant(value=3)


PLAIN: dict[str, Any] = {"trainer": None, "program": "train.py"}


@pytest.mark.parametrize(
    ("override", "name", "parameter"),
    [
        ("+x=1", "x", Constant(value=1)),
        ("+x=[1, 2]", "x", Choice(values=(1, 2))),
        ("+x={min: 1, max: 3}", "x", Range(distribution=Distribution.INT_UNIFORM, min=1, max=3)),
        ("+optimizer.betas.first=0.9", "optimizer.betas.first", Constant(value=0.9)),
        ("+parameters.x.values=[1, 2]", "x", Choice(values=(1, 2))),
    ],
)
def test_a_new_parameter_needs_a_plus(load_keys: Load, override: str, name: str, parameter: object) -> None:
    assert dict(load_keys(override, **PLAIN).parameters) == {"lr": Choice(values=(1e-4, 3e-4)), name: parameter}


def test_later_overrides_see_added_parameters_and_keys(load_keys: Load) -> None:
    spec = load_keys("+x=1", "x=2", "+parameters.y.min=1", "parameters.y.max=3", "+seeds=[1, 2]", **PLAIN)
    assert spec.parameters["x"] == Constant(value=2)
    assert spec.parameters["y"] == Range(distribution=Distribution.INT_UNIFORM, min=1, max=3)
    assert spec.seeds == (1, 2)
    assert load_keys("+epochs=2").parameters["epochs"] == Constant(value=2)  # the trainer's, and not in the file


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lrr=1", "expected a parameter or a key of the sweep, got 'lrr'; did you mean lr?; write +lrr=... to add it"),
        ("x=1", "expected a parameter or a key of the sweep, got 'x'; write +x=... to add it"),
        (
            "parameters.lrr.values=[1]",
            (
                "expected a parameter of the sweep, got 'lrr'; did you mean lr?; "
                "write +parameters.lrr.values=... to add it"
            ),
        ),
        ("parameters.x={value: 1}", "expected a parameter of the sweep, got 'x'; write +parameters.x=... to add it"),
        ("+lr=1", "expected a new key after the +, got 'lr'; write lr=... to change the existing one"),
        (
            "+parameters.lr.value=1",
            (
                "expected a new key after the +, got 'parameters.lr.value'; "
                "write parameters.lr.value=... to change the existing one"
            ),
        ),
        ("+method=random", "expected a new key after the +, got 'method'; write method=... to change the existing one"),
        ("+", "expected KEY=VALUE, got '+'"),
    ],
)
def test_a_misspelt_name_does_not_create_a_parameter(load_keys: Load, override: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_keys(override, **PLAIN)
    assert str(error.value) == f"command line: {override}: {message}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+epoch=1",
            (
                "command line: +epoch=1: parameters.epoch: expected a hyperparameter of text-classification, "
                "got the unknown name epoch; did you mean epochs?"
            ),
        ),
        ("lr", "command line: lr: expected KEY=VALUE, got 'lr'"),
        ("=1", "command line: =1: expected KEY=VALUE, got '=1'"),
        ("lr=abc", "command line: lr=abc: parameters.lr.value: expected a number for lr, got 'abc'"),
        ("lr=[1, abc]", "command line: lr=[1, abc]: parameters.lr.values.1: expected a number for lr, got 'abc'"),
        ("lr={", "command line: lr={: expected YAML, got "),
        ("lrr=1", "command line: lrr=1: expected a parameter or a key of the sweep, got 'lrr'; did you mean lr?"),
        ("seed=1", "command line: seed=1: expected a parameter or a key of the sweep, got 'seed'; did you mean seeds?"),
        ("seeds=abc", "command line: seeds=abc: seeds: expected a list, got 'abc'"),
        ("name.x=1", "command line: name.x=1: name: expected text, got a mapping"),
        ("profile=big", "command line: profile=big: profile: expected a key of the sweep, got its profiles; "),
        (
            "metric.at=lst",
            "command line: metric.at=lst: metric.at: expected best or last, got 'lst'; did you mean last?",
        ),
    ],
)
def test_invalid_overrides_are_refused(load_keys: Load, override: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_keys(override)
    [line] = str(error.value).splitlines()
    assert line.startswith(message)


@pytest.mark.parametrize(("has_cuda", "profile", "width", "lr"), [(True, "gpu", 768, 3e-5), (False, "cpu", 64, 8e-4)])
def test_warmup_experiment_has_a_profile_for_either_machine(
    has_cuda: bool, profile: str, width: int, lr: float
) -> None:
    spec = load(WARMUP, has_cuda=has_cuda, trainers={"text-classification": NAMES})
    assert (spec.name, spec.profile) == ("warmup", profile)
    assert spec.parameters["hidden_size"] == Constant(value=width)
    rates = spec.parameters["lr"]
    assert isinstance(rates, Choice)
    assert rates.values[1] == lr
    assert list(spec.parameters)[:2] == ["lr", "warmup_fraction"]
    assert SweepSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-4, "1e-4"),
        (0.1, "0.1"),
        (0.0, "0.0"),
        (-2.5e-7, "-2.5e-7"),
        (1e22, "1e22"),
        (123.5, "123.5"),
        (True, "true"),
    ],
)
def test_numbers_are_shown_as_a_person_writes_them(value: object, text: str) -> None:
    assert shown(value) == text


NESTED = """
name: nested
command: [train]
method: grid
metric: {name: loss}
parameters:
  optimizer:
    parameters:
      name: {value: adam}
      lr: {values: [1, 2]}
      betas: {parameters: {first: {value: 0.9}}}
  width: {value: 3}
profiles:
  wide: {parameters: {optimizer: {parameters: {lr: {values: [3]}}}}}
"""


def test_nested_parameters_have_dotted_names(load_text: Load) -> None:
    spec = load_text(NESTED)
    assert list(spec.parameters) == ["optimizer.name", "optimizer.lr", "optimizer.betas.first", "width"]
    assert load_text(NESTED, profile="wide").parameters["optimizer.lr"] == Choice(values=(3,))
    assert load_text(NESTED, "optimizer.lr=7").parameters["optimizer.lr"] == Constant(value=7)


def test_a_mistake_in_a_group_is_reported_at_its_line(load_text: Load) -> None:
    with pytest.raises(SpecError) as error:
        load_text(NESTED.replace("first: {value: 0.9}", "first: {valu: 0.9}"))
    assert "parameters.optimizer.parameters.betas.parameters.first: " in str(error.value)
    assert str(error.value).startswith("sweep.yaml:11: ")


def test_a_group_with_a_duplicate_parameter_name_is_refused(load_text: Load) -> None:
    with pytest.raises(SpecError, match=r"parameters\.optimizer"):
        load_text(NESTED.replace("width: {value: 3}", "optimizer.lr: {value: 3}"))


def test_retries_and_hanging(load_keys: Load) -> None:
    plain = load_keys()
    assert (plain.retry.max, [cause.value for cause in plain.retry.on]) == (2, ["killed", "lost", "hung"])
    assert plain.hang_after_s is None
    spec = load_keys(retry={"max": 0, "on": ["error"]}, hang_after_s=1800)
    assert (spec.retry.max, [cause.value for cause in spec.retry.on], spec.hang_after_s) == (0, ["error"], 1800)
