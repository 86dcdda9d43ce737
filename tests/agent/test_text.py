"""Text of strangers: one line, short, without what nobody sees; and an estimate of tokens from above."""

from __future__ import annotations

import pytest

from sweeper.agent.text import MOST_PARAMS, params_of, quoted, shown, tokens, value_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("left\u202eright", "left?right"),
        ("seen\U000e0041\U000e0042", "seen??"),
        ("v\ufe0fs\U000e0101t", "vst"),
        ("\ud800", "?"),
        ("x" * 70, "x" * 57 + "…"),
        ("ä" * 40, "ä" * 28 + "…"),
    ],
    ids=["lines", "terminal codes", "bidirectional", "tags", "variation selectors", "surrogates", "long", "bytes"],
)
def test_text_is_one_short_line_of_visible_characters(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_secrets_are_redacted() -> None:
    assert "sk-abc" not in shown("api_key=sk-abcdefghijklmnopqrstuvwxyz123456", 200)


def test_quoted_lines_are_few_different_and_not_empty() -> None:
    assert quoted(["a", "", "a", " ", "b", "c"], 2) == ["a", "b"]


def test_values_keep_enough_digits_to_be_copied() -> None:
    assert value_of(0.00012345678) == 0.00012345678
    assert value_of(1 / 3) == 0.33333333
    assert value_of(float("nan")) is None
    assert value_of(value=True) is True
    assert value_of([1, 2]) == "[1, 2]"
    assert value_of(10**30) == f"{10**30}"


def test_of_many_parameters_the_first_are_listed_and_the_others_counted() -> None:
    shortened = params_of({f"p{i}": i for i in range(MOST_PARAMS + 3)})
    assert len(shortened) == MOST_PARAMS + 1
    assert shortened["…"] == "3 more"


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 0),
        ("the loss is not finite", 6),  # known tokenizers need 5 or 6, with spaces in the words
        ('{"value":0.9756}', 8),
        ("0.123456789", 5),
        ("ää", 4),
        ("x" * 300, 100),
    ],
)
def test_tokens_are_estimated_from_above(text: str, least: int) -> None:
    assert tokens(text) >= least
