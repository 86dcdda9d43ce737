"""Values of expressions, read without running them."""

from __future__ import annotations

import ast
import math

import pytest

from sweeper.preflight.arguments.model import UNREAD
from sweeper.preflight.arguments.values import value_of

NAMES = {"LR": 0.1, "KINDS": {"a": 1, "b": 2}, "DIR": "runs"}


def value(text: str) -> object:
    return value_of(ast.parse(text, mode="eval").body, lambda name: NAMES.get(name, UNREAD))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 1e-3),
        ("-2", -2),
        ("5 * 8", 40),
        ("2 ** 10", 1024),
        ("1 << 4", 16),
        ("LR / 10", 0.01),
        ("3 * LR", 0.1 * 3),
        ("float('inf')", math.inf),
        ("math.inf", math.inf),
        ("[1, LR]", [1, 0.1]),
        ("(1, 'a')", (1, "a")),
        ("dict(a=1)", {"a": 1}),
        ("KINDS.keys()", ["a", "b"]),
        ("sorted(KINDS)", ["a", "b"]),
        ("list(KINDS.values())", [1, 2]),
        ("range(3)", [0, 1, 2]),
        ("Path('a') / 'b'", "a/b"),
        ("os.path.join(DIR, 'x')", "runs/x"),
        ("DIR + '/x'", "runs/x"),
        ("not True", False),
    ],
)
def test_values_that_need_no_running_script(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("os.cpu_count()", "unknown", "LR.x", "1 / 0", "9 ** 9 ** 9", "1 << 10 ** 9", "(-8) ** 0.5", "'a' * 10 ** 9"),
        *("[x for x in y]", "f'{x}'", "{**a}", "lambda: 1", "float('x')", "-'a'", "open('x')", "range(10 ** 12)"),
    ],
)
def test_anything_else_is_unread(text: str) -> None:
    assert value(text) is UNREAD
