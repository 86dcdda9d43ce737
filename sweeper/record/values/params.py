"""A trial's parameters as its command gets them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def word_of(value: object) -> str:
    """A value as a word of a command line, spelled as Python does, as W&B's agent writes it: ``True``, ``[1, 2]``."""
    return value if isinstance(value, str) else str(json.loads(json.dumps(value)))


def json_of(params: Mapping[str, object]) -> str:
    """All of them as JSON; those of a group (``optimizer.lr``) within it, as W&B's agent writes them."""
    return json.dumps(_grouped(params))


def _grouped(params: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in params.items():
        *groups, last = _way(name, params)
        inner = found
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return found


def _way(name: str, params: Mapping[str, object]) -> list[str]:
    """The groups of a parameter and its name in them; where a group is itself a parameter, its whole name."""
    parts = name.split(".")
    groups = (".".join(parts[:count]) for count in range(1, len(parts)))
    return [name] if any(group in params for group in groups) else parts
