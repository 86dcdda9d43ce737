"""The parameters of a trial as text: for people, and in the form that its command expects. Pure functions."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

PLAIN_RANGE = (1e-3, 1e6)
"""Magnitudes between these are written without an exponent."""

_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")|(?<![\d.])(\d+)e')
"""A text, in which nothing is changed, or a whole number before an exponent."""


LONGEST_SPELLED = 60
"""Maximum number of characters of a value in a table."""
_END = 12
"""Number of characters from the end of a longer value."""
_OTHER_KINDS = re.compile(
    r"""true|false|null|none|~|[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?\.?(inf|nan)|[\[{"'].*|""",
    re.IGNORECASE | re.DOTALL,
)
"""Texts that read like a value that is no text."""


def spelled(value: object, most: int = LONGEST_SPELLED) -> str:
    """Return a parameter value for people, on a line with others: 3e-4, not 0.0003.

    Text that reads like another value has quotes: `"True"` is text, `True` is not. A value that is longer than `most`
    is cut in the middle, and ends with a checksum of all of it, so that long values with one beginning differ.
    """
    text = unquoted(value)
    if isinstance(value, str) and reads_as_other_kind(value):
        text = f'"{value}"'
    if len(text) <= most:
        return text
    mark = f"#{zlib.crc32(text.encode(errors='surrogatepass')) & 0xFFFF:04x}"
    return f"{text[: most - _END - len(mark) - 1]}…{text[-_END:]}{mark}"


def spelled_apart(values: Sequence[object]) -> list[str]:
    """Return the values as `spelled` does, with all digits where two different numbers would read the same."""
    known: dict[str, set[object]] = {}
    for value in values:
        known.setdefault(spelled(value), set()).add(repr(value))
    return [
        repr(value) if isinstance(value, float) and len(known[spelled(value)]) > 1 else spelled(value)
        for value in values
    ]


def reads_as_other_kind(text: str) -> bool:
    """Return whether a text reads like a number, a truth value, null, a list or nothing."""
    return _OTHER_KINDS.fullmatch(text) is not None


def unquoted(value: object) -> str:
    """Return a parameter value as a person would write it, text as it is."""
    if isinstance(value, float) and value and not PLAIN_RANGE[0] < abs(value) < PLAIN_RANGE[1]:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def argument_of(value: object) -> str:
    """Return a value as a command-line argument in Python's spelling, like W&B's agent: ``True``, ``[1, 2]``."""
    return value if isinstance(value, str) else str(json.loads(json.dumps(value)))


def argument_words(name: str, value: object) -> list[str]:
    """Return an option with its value for `argparse`: nothing for null, and a list as a word each (`nargs`)."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [f"--{name}", *map(argument_of, value)]
    return [f"--{name}={argument_of(value)}"]


Nesting: TypeAlias = Mapping[str, Sequence[str]]
"""The groups of each grouped parameter and its name in them: ``{"optimizer.lr": ["optimizer", "lr"]}``."""


def json_of(params: Mapping[str, object], nesting: Nesting | None = None) -> str:
    """Return all parameters as a JSON object; grouped ones are nested, like W&B's agent.

    Args:
        params: the parameters by name.
        nesting: the parameters that the sweep file groups. Any other name keeps its dots. None: every dot is taken for
            a group, because a record of an earlier version does not have the groups.
    """
    return json.dumps(_nested(params, nesting))


def file_of(params: Mapping[str, object], nesting: Nesting | None = None) -> str:
    """Return the same JSON for a file, which scripts also read as YAML.

    Numbers with an exponent have a dot (``1.0e-05``), because PyYAML takes ``1e-05`` for text.
    """
    return _TOKENS.sub(lambda found: f"{found[2]}.0e" if found[2] else found[1], json_of(params, nesting))


def _nested(params: Mapping[str, object], nesting: Nesting | None) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in params.items():
        *groups, last = _path(name, params, nesting)
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return nested


def _path(name: str, params: Mapping[str, object], nesting: Nesting | None) -> Sequence[str]:
    """Return the groups of a parameter and its name in them; the whole name where a group is itself a parameter."""
    parts = name.split(".") if nesting is None else nesting.get(name, (name,))
    groups = (".".join(parts[:count]) for count in range(1, len(parts)))
    return [name] if any(group in params for group in groups) else parts
