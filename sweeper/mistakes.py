"""The words of a mistake in a user's file: how values and names read in a message, and the error of a validator.

Both the sweep file (`sweeper.config`) and the settings of rules (`sweeper.rules.settings`) use this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from pydantic import ConfigDict
from pydantic_core import PydanticCustomError

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
"""The configuration of every model of a user's file: frozen, no unknown keys, no conversions such as "3" to 3."""

LONGEST = 60
"""Maximum number of characters of a value in a message."""

LONGEST_PART = 2_000
"""Maximum number of characters of a longer quotation in a message: several values, a path of keys."""

SAME_START = 3
"""Number of characters with which a similar name begins alike."""

SIMILAR = 0.6
"""Least similarity, from 0 to 1, of a name that is suggested."""

FAR = 0.4
"""Least similarity of a name that is listed before the others."""

MOST_LISTED = 40
"""Maximum number of names that a message lists."""

MOST_CHOICES = 10
"""Maximum number of names that a message lists as those that could be meant; of more, it lists the nearest."""

NEAREST = 3
"""Number of names that are listed of more than `MOST_CHOICES`."""

IN_SCHEMA = "`sweeper schema` lists them"
"""Where all keys and names of a sweep file are found."""

IN_FILE = "the sweep file lists them"
"""Where all parameters of a sweep are found."""

FORMER_NAMES = {
    "early_terminate": "early_stop",
    "seed": "seeds",
    "log_uniform": "log_uniform_values",
    "gpu": "cuda",
}
"""Names from other tools that a similarity search would not map to sweeper's names."""


def refused(expected: str, *, got: str = "", hint: str = "") -> PydanticCustomError:
    """Return the error that a validator raises, with the parts of a `Mistake`; without `got`, the value is shown."""
    return PydanticCustomError("sweep", "{expected}", {"expected": expected, "got": got, "hint": hint})


def shown(value: object) -> str:
    """Return the value as a person would write it: ``1e-4``, ``'text'``, ``true``, ``[1, 2]``; a mapping in words."""
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
    """Return the shorter of the decimal and the scientific form: 0.1 and 10.0, but 1e-4."""
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
    """Return the names as in a sentence: ``a, b or c``. A long list ends with the number of names left out."""
    *others, last = names
    if len(others) >= MOST_LISTED:
        others, last = others[: MOST_LISTED - 1], f"{len(others) - MOST_LISTED + 2} more"
    return f"{', '.join(others)} or {last}" if others else last


def one_of(known: Iterable[str], name: object, where: str = IN_SCHEMA) -> str:
    """Return the names that could be meant, as in a sentence; of many, the nearest to the one that was written.

    Where fewer are near, or what was written is no text, the first of all names follow.

    Args:
        known: all names.
        name: what was written.
        where: where all names are found.
    """
    names = list(known)
    if len(names) <= MOST_CHOICES:
        return listed(names)
    near = _nearest(name, names, cutoff=FAR) if isinstance(name, str) else []
    first = [*near, *(one for one in names if one not in near)][:NEAREST]
    return listed([*first, f"{len(names) - NEAREST} more ({where})"])


def suggested(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean ...?``, or an empty string when no known name is similar."""
    close = _nearest(name, list(known), cutoff=SIMILAR)
    return f"did you mean {close[0]}?" if close else ""


def _nearest(name: str, names: Sequence[str], *, cutoff: float) -> list[str]:
    """Return at most `NEAREST` names that are as similar as `cutoff`, from 0 to 1; the one most likely meant first."""
    close = difflib.get_close_matches(name[:LONGEST], names, n=NEAREST, cutoff=cutoff)
    # Among similar names, one that begins alike comes first: `retries` is `retry`, and not `metrics`.
    close.sort(key=lambda one: not one.startswith(name[:SAME_START]))
    former = [FORMER_NAMES[name]] if FORMER_NAMES.get(name) in names else []
    return [*former, *(one for one in close if one not in former)]


def shortened(text: str) -> str:
    """Return the text for a message: printable, and cut to `LONGEST_PART` characters."""
    safe = printable(text[:LONGEST_PART])
    return safe if len(text) <= LONGEST_PART else f"{safe}..."


def printable(text: str) -> str:
    """Return the text with every character escaped that a terminal would interpret."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
