"""Answers as JSON: without secrets, and without the numbers that JSON lacks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

from sweeper.record.values.redaction import redacted_values
from sweeper.service.answers import Answer


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON object: secrets are replaced, and NaN and the infinities are null."""
    return redacted_values({key: _plain(getattr(answer, name)) for name, key in keys_of(type(answer))})


def to_text(answer: Answer, *, indent: int | None = 1) -> str:
    """Return an answer as JSON text."""
    return json.dumps(to_json(answer), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any part of an answer, a case for each kind
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is str or kind is int:
        return value
    if hasattr(kind, "__dataclass_fields__"):
        return {key: _plain(getattr(value, name)) for name, key in keys_of(kind)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, int) else str(value)


def keys_of(kind: type[Any]) -> Sequence[tuple[str, str]]:
    """Return the fields of an answer with their keys; the field of the key `as`, a word of Python, is `as_`."""
    if kind not in _KEYS:
        _KEYS[kind] = tuple((one.name, one.name.removesuffix("_")) for one in fields(kind))
    return _KEYS[kind]


_KEYS: dict[type[Any], Sequence[tuple[str, str]]] = {}
"""The answer of `keys_of` for each kind that was asked for."""
