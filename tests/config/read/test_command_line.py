"""Values on the command line: nothing that was typed disappears or changes."""

from __future__ import annotations

import pytest

from sweeper.config import Choice, Constant, Range
from sweeper.errors import SpecError
from tests.config.conftest import Load

FILE = """\
program: train.py
method: grid
parameters: {model: {value: base}, lr: {value: 0.1}, size: {min: 1, max: 3}, name: {values: [a, b]}}
"""

TEXTS = ["67217e15", "0012", "-007", "00.5", "3.10", "0x1f", "0o17", "12e34567", "12345678901234567890", "~", "yes"]
TEXTS += ["a b", "12:30", "http://host:1/x", "it's", "--flag", "a#b", "a&b", "1_000", "x=y", "", "v1.10"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_as_it_was_typed(load_text: Load, text: str) -> None:
    for argument in (f"model={text}", f"+new={text}", f"parameters.model.value={text}"):
        spec = load_text(FILE, argument)
        assert spec.parameters["new" if "new" in argument else "model"] == Constant(value=text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-4", 1e-4),
        ("3E-4", 3e-4),
        ("1e5", 1e5),
        ("10e3", 1e4),
        ("0.25", 0.25),
        ("1.0", 1.0),
        (".5", 0.5),
        ("12", 12),
    ],
)
def test_usual_numbers_are_numbers(load_text: Load, text: str, number: float) -> None:
    parameter = load_text(FILE, f"model={text}").parameters["model"]
    assert parameter == Constant(value=number)


def test_zeros_at_the_end_are_no_version_where_numbers_are_declared(load_text: Load) -> None:
    assert load_text(FILE, "lr=0.10").parameters["lr"] == Constant(value=0.1)
    assert load_text(FILE, "parameters.size.max=010").parameters["size"] == Range(
        distribution="int_uniform", min=1, max=10
    )


def test_texts_in_a_list_stay_as_they_were_typed(load_text: Load) -> None:
    spec = load_text(FILE, "name=[0012, 67217e15, 1e-4, '3.10', ~]")
    assert spec.parameters["name"] == Choice(values=("0012", "67217e15", 1e-4, "3.10", "~"))


def test_null_is_what_it_says(load_text: Load) -> None:
    assert load_text(FILE, "model=null").parameters["model"] == Constant(value=None)
    assert load_text(FILE, "early_stop=~").early_stop is None


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        *(("#ff0000", "a comment"), ("a #b", "a comment"), ("[1, 2] # c", "a comment"), ("&a", "an anchor")),
        *(("*.txt", "something else"), ("*a", "an alias"), ("!a", "a tag"), ("-", "a list"), ("- a", "a list")),
        *(("a: b", "a mapping"), ("C:", "a mapping"), ("?", "a mapping"), (">5", "a block of text")),
        *(("|", "a block of text"), ("---", "the start of a document"), ("@a", "something else")),
        *(("%20", "a directive"), ("a\nb", "one line")),
    ],
)
def test_what_yaml_reads_otherwise_is_refused_with_what_to_type(load_text: Load, text: str, reading: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_text(FILE, f"model={text}")
    (mistake,) = caught.value.mistakes
    assert (mistake.expected, mistake.got) == ("a value", f"what YAML reads as {reading}")
    assert mistake.hint.startswith("quote it: model='\"")
    if "\n" not in text:
        quoted = mistake.hint.removeprefix("quote it: model='").removesuffix("'")
        assert load_text(FILE, f"model={quoted}").parameters["model"] == Constant(value=text)
