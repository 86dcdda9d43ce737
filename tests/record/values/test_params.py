"""Values of parameters for people: short, and told apart."""

from __future__ import annotations

import pytest

from sweeper.record.values.params import LONGEST_SPELLED, spelled, spelled_apart


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((True, "True"), ("True", '"True"'), (1, "1"), ("1", '"1"'), (None, "None"), ("None", '"None"'), ("", '""')),
        *((3e-4, "3e-4"), ("3e-4", '"3e-4"'), ([1, 2], "[1, 2]"), ("[1, 2]", '"[1, 2]"'), ("false", '"false"')),
        *(("adam", "adam"), ("1.2.3", "1.2.3"), ("bert-base", "bert-base"), ("nan", '"nan"'), ("0012", '"0012"')),
    ],
)
def test_text_that_reads_like_another_value_has_quotes(value: object, text: str) -> None:
    assert spelled(value) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("You are a helpful assistant. " * 70 + "Be short.", "You are a helpful assistant. " * 70 + "Be polite."),
        ("a" * 2000, "a" * 2001),
        ("x" * 1000 + "1" + "x" * 1000, "x" * 1000 + "2" + "x" * 1000),
        (list(range(500)), [*range(499), 0]),
    ],
)
def test_long_values_are_cut_and_differ(one: object, other: object) -> None:
    texts = spelled(one), spelled(other)
    assert texts[0] != texts[1]
    assert {len(text) for text in texts} == {LONGEST_SPELLED}


def test_numbers_with_the_same_first_digits_differ() -> None:
    assert spelled_apart([0.1234567, 0.1234568, 0.1234567, 0.5]) == ["0.1234567", "0.1234568", "0.1234567", "0.5"]
