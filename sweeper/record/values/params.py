"""The parameters of a trial as text: for people, and in the form that its command expects. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PLAIN_RANGE = (1e-3, 1e6)
"""Magnitudes between these are written without an exponent."""

_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")|(?<![\d.])(\d+)e')
"""A text, in which nothing is changed, or a whole number before an exponent."""


def spelled(value: object) -> str:
    """Return a parameter value as a person would write it: 3e-4, not 0.0003."""
    if isinstance(value, float) and value and not PLAIN_RANGE[0] < abs(value) < PLAIN_RANGE[1]:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def argument_of(value: object) -> str:
    """Return a value as a command-line argument in Python's spelling, like W&B's agent: ``True``, ``[1, 2]``."""
    return value if isinstance(value, str) else str(json.loads(json.dumps(value)))


def json_of(params: Mapping[str, object]) -> str:
    """Return all parameters as a JSON object; grouped ones (``optimizer.lr``) are nested, like W&B's agent."""
    return json.dumps(_nested(params))


def file_of(params: Mapping[str, object]) -> str:
    """Return the same JSON for a file, which scripts also read as YAML.

    Numbers with an exponent have a dot (``1.0e-05``), because PyYAML takes ``1e-05`` for text.
    """
    return _TOKENS.sub(lambda found: f"{found[2]}.0e" if found[2] else found[1], json_of(params))


def _nested(params: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in params.items():
        *groups, last = _path(name, params)
        inner = nested
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return nested


def _path(name: str, params: Mapping[str, object]) -> list[str]:
    """Return the groups of a parameter and its name in them; the whole name where a group is itself a parameter."""
    parts = name.split(".")
    groups = (".".join(parts[:count]) for count in range(1, len(parts)))
    return [name] if any(group in params for group in groups) else parts
