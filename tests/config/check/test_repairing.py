"""`early_stop.repair` in a sweep file: the parameters that it names, and each mistake, word for word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sweeper.config import EarlyStop, SweepSpec, changes_between, load, repair_of, repair_text, rules_from_file
from sweeper.config.write.schema import schema
from sweeper.errors import SpecError
from sweeper.rules.repair import Domain, RepairedParameters
from tests.config.conftest import sweep

PARAMETERS: dict[str, Any] = {
    "lr": {"values": [3e-4, 8e-4]},
    "warmup_ratio": {"min": 0.0, "max": 0.7},
    "act": {"values": ["relu", "gelu"]},
    "clip": {"value": None},
}


def file(repair: object, parameters: dict[str, Any] | None = None, **early_stop: Any) -> dict[str, Any]:
    given = PARAMETERS if parameters is None else parameters
    return sweep(
        trainer=None,
        command=["train"],
        method="random",
        run_cap=3,
        parameters=given,
        early_stop={"repair": repair, **early_stop},
    )


def loaded(folder: Path, *args: Any, **keys: Any) -> SweepSpec:
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(file(*args, **keys)))
    return load(path, has_cuda=False, trainers={})


def test_auto_finds_the_usual_names(tmp_path: Path) -> None:
    settings = repair_of(spec := loaded(tmp_path, "auto"))
    assert settings is not None
    assert settings.parameters == RepairedParameters(lr="lr", warmup="warmup_ratio", clip="clip")
    assert settings.max_repairs == 2
    assert settings.domains["lr"] == Domain(values=(3e-4, 8e-4), text="3e-4 or 8e-4")
    assert (settings.domains["warmup_ratio"].low, settings.domains["warmup_ratio"].high) == (0.0, 0.7)
    assert repair_text(spec) == (
        "repair changes lr=lr, warmup=warmup_ratio, clip=clip; no parameter was found for the weight decay"
    )


def test_only_the_named_parameters_are_changed(tmp_path: Path) -> None:
    settings = repair_of(loaded(tmp_path, {"warmup": "warmup_ratio"}, max_repairs=1))
    assert settings is not None
    assert (settings.parameters, settings.max_repairs) == (RepairedParameters(warmup="warmup_ratio"), 1)


@pytest.mark.parametrize("repair", ["off", False, None])
def test_off_repairs_nothing(tmp_path: Path, repair: object) -> None:
    spec = loaded(tmp_path, repair)
    assert repair_of(spec) is None
    assert repair_text(spec) == ""
    assert repair_of(SweepSpec.from_json(sweep(early_stop=None))) is None


@pytest.mark.parametrize("repair", ["auto", {"lr": "lr"}, "off"])
def test_the_recorded_sweep_has_the_same_repair(tmp_path: Path, repair: object) -> None:
    spec = loaded(tmp_path, repair)
    assert SweepSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.to_json()["early_stop"]["repair"] == (None if repair == "off" else repair)
    jsonschema.validate(file(repair), schema())


def test_the_kinds_of_parameters_have_their_domains(tmp_path: Path) -> None:
    parameters = {
        "lr": {"distribution": "log_normal", "mu": -7.0, "sigma": 1.0},
        "warmup_steps": {"min": 0, "max": 500},
        "clip": {"distribution": "beta"},
        "weight_decay": {"min": 0.0, "max": 0.3, "q": 0.1},
    }
    settings = repair_of(loaded(tmp_path, "auto", parameters))
    assert settings is not None
    known = settings.domains
    assert (known["lr"].low, known["lr"].below(1e-9)) == (0.0, 1e-9)
    assert (known["warmup_steps"].above(3.2), known["warmup_steps"].whole) == (4, True)
    assert known["clip"].below(5) == 1
    assert known["weight_decay"].below(0.25) == 0.2


def test_of_several_equal_names_none_is_chosen_and_that_is_said(tmp_path: Path) -> None:
    parameters = {"a.lr": {"value": 1e-3}, "b.lr": {"value": 1e-3}, "warmup": {"value": 0.1}}
    spec = loaded(tmp_path, "auto", parameters)
    assert repair_text(spec).endswith("; several could be the learning rate: a.lr, b.lr")


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"repair": {"lr": "lrr"}},
        "early_stop.repair.lr: expected a parameter of the sweep for the learning rate, got 'lrr'; did you mean lr?",
    ),
    (
        {"repair": {"clip": "max_norm"}},
        (
            "early_stop.repair.clip: expected a parameter of the sweep for clipping the gradient, got 'max_norm'; "
            "to fix it for all trials, add max_norm: {value: ...}"
        ),
    ),
    (
        {"repair": {"warmup": "act"}},
        "early_stop.repair.warmup: expected a number for the warmup, got act with the values ['relu', 'gelu']",
    ),
    (
        {"repair": {"lr": "lr", "clip": "lr"}},
        "early_stop.repair: expected another parameter in each role, got lr twice",
    ),
    (
        {"repair": {"learning_rate": "lr"}},
        "early_stop.repair.learning_rate: expected one of lr, warmup, clip or weight_decay, got an unknown key",
    ),
    ({"repair": {"lr": 3}}, 'early_stop.repair.lr: expected text, got 3; quote it: "3"'),
    (
        {"repair": "atuo"},
        (
            "early_stop.repair: expected auto, off, or a mapping of lr, warmup, clip, weight_decay, got 'atuo'; "
            "did you mean auto?"
        ),
    ),
    (
        {"repair": True},
        "early_stop.repair: expected auto, off, or a mapping of lr, warmup, clip, weight_decay, got true; write auto",
    ),
    (
        {"repair": "auto", "parameters": {"width": {"value": 3}}},
        (
            "early_stop.repair: expected a parameter that a repair can change, got none with a usual name, such as lr; "
            "write repair: {lr: NAME, warmup: NAME, clip: NAME} with the script's own names, or repair: off"
        ),
    ),
    (
        {"repair": "auto", "parameters": {"a.lr": {"value": 1e-3}, "b.lr": {"value": 1e-3}}},
        (
            "early_stop.repair: expected a parameter that a repair can change, got several: a.lr, b.lr; "
            "write repair: {lr: NAME, warmup: NAME, clip: NAME} with the script's own names, or repair: off"
        ),
    ),
    (
        {"repair": "off", "max_repairs": 3},
        "early_stop.max_repairs: expected max_repairs only with repair: auto, got no repair",
    ),
    ({"repair": "auto", "max_repairs": 0}, "early_stop.max_repairs: expected at least 1, got 0"),
    (
        {"repair": "auto", "mode": "observe"},
        (
            "early_stop.repair: expected off with mode: observe, got repairs; observe stops no trial, so there is "
            "none to repair"
        ),
    ),
]


@pytest.mark.parametrize(("keys", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_each_mistake_says_what_to_write(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        loaded(tmp_path, **keys)
    assert [str(mistake).split(": ", 1)[1] for mistake in error.value.mistakes] == [message]


def test_rules_without_a_diagnosis_have_nothing_to_repair(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a diagnosis among the rules, got none"):
        loaded(tmp_path, "auto", rules=[{"median": {}}])
    assert repair_of(loaded(tmp_path, "auto", rules=[{"median": {}}, {"diverged": {}}])) is not None


def test_rules_are_read_from_a_sweep_file_with_repairs(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(json.dumps(file({"lr": "lr"})))
    assert rules_from_file(str(path)).rules == EarlyStop().rules


def test_a_file_that_lists_the_defaults_is_read(tmp_path: Path) -> None:
    assert repair_of(loaded(tmp_path, None, max_repairs=2)) is None


def test_repairs_would_have_changed_the_trials_that_ran(tmp_path: Path) -> None:
    changes = changes_between(loaded(tmp_path, "off"), loaded(tmp_path, "auto"))
    assert changes.conflicts == ("early_stop: {repair: 'auto', rules: auto} instead of auto",)
