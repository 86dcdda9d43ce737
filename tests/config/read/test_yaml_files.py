"""What YAML files of people hold: merge keys, templates, words of YAML 1.1, names that are titles."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from sweeper.config import Choice, Constant, Method, Range, SweepSpec, as_name, changes_between, load
from sweeper.config.read.node import plain
from sweeper.config.read.yaml_text import TextSource, parsed
from sweeper.config.write.schema import schema
from sweeper.errors import SpecError

HEAD = "program: t.py\nmethod: grid\nmetric: {name: l}\n"


def loaded(folder: Path, text: str) -> tuple[SweepSpec, list[str]]:
    path = folder / "sweep.yaml"
    path.write_text(text)
    notes: list[str] = []
    spec = load(path, has_cuda=False, trainers={}, say=notes.append)
    root, _ = parsed(text, TextSource("sweep.yaml"))
    jsonschema.Draft202012Validator(schema()).validate(plain(root))
    return spec, [note.removeprefix(str(path)) for note in notes]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("a: &x {values: [1, 2]}\n  b: {<<: *x}", Choice(values=(1, 2))),
        ("a: &x {min: 1, max: 4}\n  b: {<<: *x, max: 3}", Range(distribution="int_uniform", min=1, max=3)),
        ("a: &x {min: 1, max: 4}\n  b: {max: 3, <<: *x}", Range(distribution="int_uniform", min=1, max=3)),
        ("a: &x {min: 1, max: 4}\n  c: &y {min: 2, max: 5}\n  b: {<<: [*x, *y]}", None),
        ("b:\n    <<: {min: 1}\n    <<: {max: 4}", None),
    ],
)
def test_merge_keys(tmp_path: Path, parameters: str, expected: object) -> None:
    spec, _ = loaded(tmp_path, f"{HEAD}parameters:\n  {parameters}\n")
    assert spec.parameters["b"] == (expected or Range(distribution="int_uniform", min=1, max=4))


def test_templates_at_the_top_hold_what_is_merged(tmp_path: Path) -> None:
    templates = "x-base: &base {values: [1, 2]}\n.other: &other {value: 3}"
    text = f"{HEAD}{templates}\nparameters: {{a: {{<<: *base}}, b: *other}}"
    assert loaded(tmp_path, text)[0].parameters == {"a": Choice(values=(1, 2)), "b": Constant(value=3)}


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("{<<: 3, value: 1}", "4: parameters.a.<<: expected a mapping to merge, or a list of mappings, such as *base"),
        ("{<<: [3], value: 1}", "4: parameters.a.<<: expected a mapping to merge"),
        ("&x {<<: *x, value: 1}", "4: parameters.a.<<: expected another mapping to merge, got the one that it is in"),
        ("{<<: {valeu: 1}}", "4: parameters.a: expected one of value, values, or min and max, got valeu"),
    ],
)
def test_wrong_merge_keys_are_refused_with_their_line(tmp_path: Path, parameter: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, f"{HEAD}parameters: {{a: {parameter}}}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("word", "here", "there"),
    [
        *(("yes", "'yes'", "true"), ("off", "'off'", "false"), ("0012", "12", "10"), ("1_000", "'1_000'", "1000")),
        *(("0o17", "15", "'0o17'"), ("0089", "89", "'0089'"), ("1:30", "'1:30'", "90"), ("2026-01-01", "", "a date")),
    ],
)
def test_a_word_of_yaml_1_1_is_said_with_its_line(tmp_path: Path, word: str, here: str, there: str) -> None:
    _, notes = loaded(tmp_path, f"{HEAD}parameters:\n  a: {{value: 1}}\n  b:\n    value: {word}\n")
    assert notes[0] == (
        f":7: {word} is {here or repr(word)} here, as in YAML 1.2; by YAML 1.1, as W&B reads files, it is {there}. "
        "Write what is meant, or quote it"
    )


def test_all_words_of_yaml_1_1_are_said_at_once(tmp_path: Path) -> None:
    values = "[yes, 'no', on, 1e-4, null, true, 12, 0.5, y, 0x1f]"
    _, notes = loaded(tmp_path, f"{HEAD}name: n\n\nparameters: {{a: {{values: {values}}}}}")
    assert notes == [
        (
            ":6: yes is 'yes' here, as in YAML 1.2; by YAML 1.1, as W&B reads files, it is true. Write what is meant, "
            "or quote it. The same holds for on in line 6"
        )
    ]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("T5 Evaluation -- GLUE: SST-2", "T5-Evaluation-GLUE-SST-2"),
        ("lr/wd (grid)", "lr-wd-grid"),
        ("-a", "a"),
        ("Über alles", "Über-alles"),
        ("../../etc", "etc"),
    ],
)
def test_a_name_that_is_no_directory_is_the_title(tmp_path: Path, title: str, name: str) -> None:
    spec, notes = loaded(tmp_path, f'name: "{title}"\n{HEAD}parameters: {{}}')
    assert (spec.name, spec.title) == (name, title)
    assert notes == [f":1: name is kept as the title, and the directory of the run is {name}"]


def test_long_names_with_one_beginning_differ(tmp_path: Path) -> None:
    one, two = (loaded(tmp_path, f'name: "{"a" * 200} {end}"\n{HEAD}parameters: {{}}')[0].name for end in (1, 2))
    assert one != two
    assert len(one) == len(two) == 64
    assert as_name("a" * 40 + "-one") != as_name("a" * 40 + "-two")


def test_two_titles_of_one_directory_are_no_additions(tmp_path: Path) -> None:
    old, new = (loaded(tmp_path, f'name: "{title}"\n{HEAD}parameters: {{}}')[0] for title in ("GLUE: a", "GLUE/a"))
    assert old.name == new.name
    assert changes_between(old, new).conflicts == ("title: 'GLUE/a' instead of 'GLUE: a'",)
    own = (loaded(tmp_path, f'name: x\ntitle: "{title}"\n{HEAD}parameters: {{}}')[0] for title in ("One", "Two"))
    assert changes_between(*own).additions == ("title: 'Two' instead of 'One'",)


def test_a_population_ends_by_itself(tmp_path: Path) -> None:
    head = f"name: n\n{HEAD.replace('grid', 'pbt')}parameters: {{a: {{min: 0.0, max: 1.0}}}}\n"
    assert loaded(tmp_path, f"{head}population: {{every_steps: 10, turns: 2}}\n")[1] == []


@pytest.mark.parametrize("method", [method for method in Method if method not in (Method.GRID, Method.PBT)])
def test_search_without_an_end_is_said(tmp_path: Path, method: Method) -> None:
    head = f"name: n\n{HEAD.replace('grid', method.value)}parameters: {{a: {{min: 0.0, max: 1.0}}}}\n"
    note = (
        f":3: run_cap is not given, so {method} proposes trials until the sweep is stopped; run_cap or budget limits it"
    )
    spec, notes = loaded(tmp_path, head)
    assert (spec.run_cap, notes) == (None, [note])
    for limit in ("run_cap: 3", "budget: {trials: 3}", "budget: {hours: 1}", "budget: {gpu_hours: 1}"):
        assert loaded(tmp_path, f"{head}{limit}\n")[1] == []


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (
            "{distribution: categorial, values: [1]}",
            (
                "expected a distribution (categorical, categorical_w_probabilities, normal or 11 more "
                "(`sweeper schema` lists them)), got 'categorial'; did you mean categorical?"
            ),
        ),
        ("{distribution: Constant, value: 1}", "got 'Constant'; did you mean constant?"),
        ("{distribution: unifrom, min: 1, max: 2}", "got 'unifrom'; did you mean uniform?"),
        ("{distribution: categorical, value: 1}", "expected values for categorical, got value"),
        ("{distribution: constant, values: [1]}", "expected value for constant, got values"),
        ("{distribution: categorical}", "expected values for categorical, got nothing"),
        ("{distribution: nromal, mu: 1}", "got 'nromal'; did you mean normal?"),
        ("{distribution: normal, min: 0, max: 1}", "expected mu and sigma for normal, got min and max; normal has no"),
        ("{distribution: beta, values: [1]}", "expected a and b for beta, got values; leave distribution out"),
        ("{distribution: normal, sigma: 0}", "sigma: expected a number above 0, got 0; without a spread, write {value"),
        ("{distribution: log_normal, mu: 700, sigma: 9}", "sigma: expected mu and sigma of the logarithm, with values"),
        ("{distribution: beta, a: 0}", "a: expected a number from 0.01 to 1000.0, got 0"),
        ("{distribution: beta, mu: 1}", "mu: expected one of min, max, value or 8 more"),
        ("{distribution: normal, q: 2}", "q: expected no q for normal, got 2; q_normal takes one"),
        (
            "{distribution: q_beta, q: 1e-300}",
            "q: expected a number that is not so small beside the values, got 1e-300",
        ),
        ("{distribution: q_normal, mu: 1e300, q: 1e-9}", "q: expected a number that is not so small"),
        ("{distribution: q_log_normal, mu: 690, q: 1}", "q: expected a number that is not so small"),
        ("{distribution: q_beta, q: 0}", "q: expected a number above 0, got 0"),
        ("{mu: 0, sigma: 1}", "expected one of value, values, or min and max, got mu; write distribution too"),
        ("{a: 1}", "got a; write distribution too, or {value: {...}} for a mapping as the value"),
        ("{values: [1, 2], probabilities: [1]}", "expected a probability for each of the 2 values, got 1 of them"),
        ("{values: [1, 2], probabilities: [1, 2]}", "expected probabilities that add up to 1, got a sum of 3.0"),
        ("{values: [1, 2], probabilities: [-1, 2]}", "probabilities.0: expected at least 0.0, got -1"),
        ("{distribution: categorical_w_probabilities, value: 1}", "expected values for categorical_w_probabilities"),
        (
            "{distribution: uniform, values: [1]}",
            "expected min and max for uniform, got values; leave distribution out",
        ),
        ("{distribution: [a], values: [1]}", "expected only one of value, values, or min and max"),
    ],
)
def test_a_wrong_distribution_is_named(tmp_path: Path, parameter: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, f"{HEAD}parameters: {{a: {parameter}}}")
    assert message in str(caught.value)


def test_the_hint_is_what_to_write_for_hyperband(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, f"{HEAD}early_terminate: hyperband\nparameters: {{}}")
    assert str(caught.value).endswith(
        "sweep.yaml:4: early_terminate: expected a mapping with the type and its settings, got only the type; "
        "write early_terminate: {type: hyperband, min_iter: 3}"
    )
