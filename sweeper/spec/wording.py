"""How values and names read in a message: short, on one line, and safe to print on a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

LONGEST = 60
"""Characters of a value that a message shows."""

LONGEST_PART = 2_000
"""Characters of what a message quotes in all: several values, a path of keys."""

MOST_LISTED = 40
"""Names that a message lists."""

FORMER_NAMES = {
    "early_terminate": "early_stop",
    "seed": "seeds",
    "log_uniform": "log_uniform_values",
    "gpu": "cuda",
}
"""Names that users bring along and that likeness would not map to ours."""


def shown(value: object) -> str:
    """The value as a person would write it: ``1e-4``, ``'text'``, ``true``, ``[1, 2]``; mappings by their name only."""
    match value:
        case None | bool():
            text = {None: "null", True: "true", False: "false"}[value]
        case float():
            text = _number(value)
        case str():
            # A slice, so that the members of an enumeration read as their text.
            text = repr(value[:LONGEST]) + ("..." if len(value) > LONGEST else "")
        case Mapping():
            text = "a mapping"
        case Sequence():
            items = ", ".join(shown(item) for item in value[:LONGEST])
            text = f"[{items}]" if len(items) <= LONGEST else "a list"
        case _:
            text = str(value)
    return text


def _number(value: float) -> str:
    """The shorter of the usual and the scientific form: 0.1 and 10.0, but 1e-4."""
    plain = repr(value)
    if plain.endswith(".0"):
        return plain
    sign, digits, exponent = Decimal(plain).normalize().as_tuple()
    if not isinstance(exponent, int):
        return plain
    head, tail = str(digits[0]), "".join(map(str, digits[1:]))
    scientific = f"{'-' * sign}{head}{'.' if tail else ''}{tail}e{exponent + len(tail)}"
    return min(plain, scientific, key=len)


def listed(names: Iterable[str]) -> str:
    """The names as in a sentence: ``a``, ``a or b``, ``a, b or c``; of very many the first ones and how many follow."""
    *others, last = names
    if len(others) >= MOST_LISTED:
        others, last = others[: MOST_LISTED - 1], f"{len(others) - MOST_LISTED + 2} more"
    return f"{', '.join(others)} or {last}" if others else last


def suggested(name: str, known: Iterable[str]) -> str:
    """``did you mean ...?``, or nothing when no known name is near."""
    names = list(known)
    if FORMER_NAMES.get(name) in names:
        return f"did you mean {FORMER_NAMES[name]}?"
    close = difflib.get_close_matches(name[:LONGEST], names, n=1)
    return f"did you mean {close[0]}?" if close else ""


def told(text: str) -> str:
    """A part of a message, made of what came: printable, and not longer than a screen."""
    safe = printable(text[:LONGEST_PART])
    return safe if len(text) <= LONGEST_PART else f"{safe}..."


def printable(text: str) -> str:
    """The text with everything escaped that a terminal would act upon."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
