"""The words of a command, and mappings as values: taken as W&B's agent takes them, and what is no macro is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from sweeper.config import SweepSpec, changes_between, load
from sweeper.config.write.schema import schema
from sweeper.errors import SpecError
from sweeper.orchestrator.trial_command import command_of

HEAD = "name: s\nmethod: grid\nmetric: {name: m}\n"
D = "parameters: {d: {values: [13, 14]}, size: {values: [s, m]}}\n"
VALIDATOR = jsonschema.Draft202012Validator(schema())


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[SweepSpec, list[str]]]:
    monkeypatch.chdir(tmp_path)

    def read(text: str, *overrides: str) -> tuple[SweepSpec, list[str]]:
        Path("s.yaml").write_text(HEAD + text)
        notes: list[str] = []
        spec = load("s.yaml", overrides=overrides, has_cuda=False, trainers={}, say=notes.append)
        VALIDATOR.validate(yaml.safe_load(HEAD + text))
        return spec, notes

    return read


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("x, --max-steps, 500", ["x", "--max-steps", "500"]),
        ("x, --amp, true, off", ["x", "--amp", "True", "off"]),
        ("x, 1e-4, 0012, -1.50", ["x", "1e-4", "0012", "-1.50"]),
        ("7, '8', \"true\"", ["7", "8", "true"]),
    ],
)
def test_numbers_and_booleans_are_words(
    read: Callable[..., tuple[SweepSpec, list[str]]], words: str, expected: object
) -> None:
    assert list(read(f"command: [{words}]\n")[0].command or ()) == expected
    overridden, _ = read("command: [y]\n", f"command=[{words}]")
    assert list(overridden.command or ()) == expected
    resumed, _ = read(f'command: [y]\nresume_args: [--from, "${{trial:dir}}", {words}]\n')
    assert resumed.resume_args is not None
    assert list(resumed.resume_args.args[2:]) == expected


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--d=${d}", r"command.1: expected ${params:d} for the value of d, got '--d=${d}'; write --d=${params:d}"),
        ("${size}", r"got '${size}'; write ${params:size}"),
        ("cfg/${size}.yaml", r"write cfg/${params:size}.yaml"),
        ("${ARGS}", "did you mean ${args}?"),
        ("--x=${Args_Json}", "did you mean ${args_json}?"),
        ("${arg}", "did you mean ${args}?"),
        ("${args_append_hydr}", "did you mean ${args_append_hydra}?"),
        ("--c=${param:size}.yaml", "did you mean ${params:size}?"),
        ("${env:HOME}/a", "did you mean ${envvar:HOME}?"),
        ("${trail:dir}", "did you mean ${trial:dir}?"),
        (
            "${params:sizes}",
            "expected the name of a parameter (d or size), got '${params:sizes}'; did you mean ${params:size}?",
        ),
        ("--j=${args_json}", "expected ${args_json} as a word of its own"),
    ],
)
def test_what_is_no_macro_is_said_with_the_right_spelling(
    read: Callable[..., tuple[SweepSpec, list[str]]], word: str, said: str
) -> None:
    with pytest.raises(SpecError) as error:
        read(f'command: [x, "{word}"]\n{D}')
    assert said in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        ["x", "hydra.run.dir=out/${d}", "${args_append_hydra}"],
        ["x", "out=${oc.env:HOME}/${now:%Y}", "${args_no_hyphens}"],
        ["bash", "-c", "exec train ${d} ${ARGS} ${HOME} $@", "x", "${args}"],
    ],
)
def test_interpolations_of_hydra_and_of_a_shell_are_passed_on(
    read: Callable[..., tuple[SweepSpec, list[str]]], words: list[str]
) -> None:
    spec, notes = read(f"command: {words!r}\n{D}")
    assert (list(spec.command or ()), notes) == (words, [])


def test_other_text_that_looks_like_a_macro_is_warned_of(read: Callable[..., tuple[SweepSpec, list[str]]]) -> None:
    _, notes = read('command: [x, "${HOME}/a", "${what}", "${envvar:HOME}"]\n')
    assert notes == [
        (
            "s.yaml:4: command.1: ${HOME} is no macro, so the program gets this text as it is; for the environment "
            "variable, write ${envvar:HOME}"
        ),
        "s.yaml:4: command.2: ${what} is no macro, so the program gets this text as it is",
    ]


@pytest.mark.parametrize(
    "place", ["parameters: {a: {value: '${params:b}'}}", "resume_args: [-r, '${trial:dir}/${params:b}']"]
)
def test_the_macro_of_a_parameter_belongs_to_the_command(
    read: Callable[..., tuple[SweepSpec, list[str]]], place: str
) -> None:
    with pytest.raises(SpecError, match=r"expected \$\{params:b\} only in command"):
        read(f"command: [x]\n{place}\n")


@pytest.mark.parametrize(
    "value",
    [{"name": "l1", "epochs": 100}, {}, {"a": {"b": [1, None, {"c": True}]}}],
)
def test_a_mapping_is_a_value(read: Callable[..., tuple[SweepSpec, list[str]]], value: dict[str, object]) -> None:
    values = json.dumps([value, {"name": "l2"}])
    spec, _ = read(f"command: [x]\nparameters: {{loss: {{values: {values}}}, fixed: {{value: {json.dumps(value)}}}}}\n")
    assert spec.to_json()["parameters"]["loss"]["values"] == [value, {"name": "l2"}]
    assert SweepSpec.from_json(spec.to_json()) == spec
    assert command_of(spec, {"loss": value}, 0) == ["x", f"--loss={value}"]  # as `str` of W&B's agent makes it


def test_a_condition_on_a_mapping(read: Callable[..., tuple[SweepSpec, list[str]]]) -> None:
    from sweeper.search.grid import Grid

    spec, _ = read(
        "command: [x]\nparameters:\n  loss: {values: [{name: l1, w: [1, 2]}, {name: l2}]}\n"
        "  margin: {values: [1, 2], when: {loss: {name: l2}}}\n"
    )
    points = list(Grid(spec.parameters).points())
    assert [point.get("margin") for point in points] == [None, 1, 2]
    with pytest.raises(SpecError, match="each value only once"):
        read("command: [x]\nparameters: {loss: {values: [{a: 1, b: 2}, {b: 2, a: 1}]}}\n")


NESTED = """\
command: [x, "${args_json}"]
parameters:
  opt.lr: {value: 1}
  model: {parameters: {width: {value: 2}, act.kind: {value: relu}, deep: {parameters: {er: {value: 3}}}}}
"""


def test_only_groups_are_nested_in_json(read: Callable[..., tuple[SweepSpec, list[str]]]) -> None:
    spec, notes = read(NESTED)
    params = {name: one.value for name, one in spec.parameters.items()}  # type: ignore[union-attr]
    expected = '{"opt.lr": 1, "model": {"width": 2, "act.kind": "relu", "deep": {"er": 3}}}'
    assert command_of(spec, params, 0) == ["x", expected]
    assert notes == [
        (
            "s.yaml:6: parameters.opt.lr: the name keeps its dot in ${args_json}, as with W&B; to nest it, write opt: "
            "{parameters: {lr: ...}}"
        )
    ]


def test_a_name_that_moves_into_a_group_changes_the_trials(read: Callable[..., tuple[SweepSpec, list[str]]]) -> None:
    flat, _ = read("command: [x]\nparameters: {opt.lr: {values: [1, 2]}}\n")
    grouped, _ = read("command: [x]\nparameters: {opt: {parameters: {lr: {values: [1, 2]}}}}\n")
    conflict = "parameters.opt.lr: opt > lr instead of opt.lr in JSON"
    assert changes_between(flat, grouped).conflicts == (conflict,)
    assert changes_between(grouped, grouped).conflicts == ()
    early = flat.model_copy(update={"nesting": None})
    assert changes_between(early, flat).conflicts == ()
