"""The macros of a trial, `${trial:dir}` and the like, in a command and in the values of parameters. Pure functions.

The record keeps the macros. The process that runs an attempt fills them, because the directory of a run may have
another path on another machine, and may be moved between two attempts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAMES = ("dir", "number", "name", "seed")
"""What a macro of a trial may stand for."""

_MACRO = re.compile(rf"\$\{{trial:({'|'.join(NAMES)})\}}")


def has_trial_macro(value: object) -> bool:
    """Return whether a text, or a text in a list or mapping, contains a macro of a trial."""
    match value:
        case str():
            return _MACRO.search(value) is not None
        case Mapping():
            return any(map(has_trial_macro, value.values()))
        case list() | tuple():
            return any(map(has_trial_macro, value))
    return False


def filled_text(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each macro of a trial replaced by its value; `values` has one for each of `NAMES`."""
    return _MACRO.sub(lambda match: values[match[1]], text)


def filled_value(value: object, values: Mapping[str, str]) -> object:
    """Return a parameter's value with the macros in all of its texts replaced."""
    match value:
        case str():
            return filled_text(value, values)
        case Mapping():
            return {name: filled_value(one, values) for name, one in value.items()}
        case list() | tuple():
            return [filled_value(one, values) for one in value]
    return value
