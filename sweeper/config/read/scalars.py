"""Read plain scalars by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema)."""

from __future__ import annotations

import re
from collections.abc import Callable

from sweeper.config.read.node import Scalar

_FORMS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
}
LONGEST_INT = 32
"""Maximum length of an integer's text: enough for 64 bits in any base, and short enough for a fast `int`."""


def form(text: str) -> str:
    """Return the type of a plain scalar: `null`, `bool`, `int`, `float` or `str`."""
    return next((name for name, pattern in _FORMS.items() if pattern.fullmatch(text)), "str")


def constructed(name: str, text: str) -> Scalar:
    """Return the value of a text as the given type, which may come from a tag such as `!!int`.

    Raises:
        KeyError: there is no such type.
        ValueError: the text is not of this type. The error's text is what was expected.
    """
    return _CONSTRUCTORS[name](text)


def _null(text: str) -> None:
    if form(text) != "null":
        raise ValueError("null")


def _bool(text: str) -> bool:
    if form(text) != "bool":
        raise ValueError("true or false")
    return text.lower() == "true"


def _int(text: str) -> int:
    if form(text) != "int":
        raise ValueError("a whole number")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    # Libraries below take at most 64 bits. Longer texts are not parsed, since int() is slow for them.
    value = int(text, base) if len(text) <= LONGEST_INT else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError("a whole number of at most 64 bits")
    return value


def _float(text: str) -> float:
    if form(text) not in {"int", "float"}:
        raise ValueError("a number")
    # Only .inf and .nan end with a letter; Python takes them without the dot.
    return float(text.lower().replace(".", "") if text[-1:].isalpha() else text)


def _str(text: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("text that can be written as UTF-8")
    if "\0" in text:  # command lines, file names and environment variables cannot contain it
        raise ValueError("text without the character NUL")
    return text


_CONSTRUCTORS: dict[str, Callable[[str], Scalar]] = {
    "null": _null,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
}
