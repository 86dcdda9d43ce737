"""Find the numbers among the values that a library was asked to log."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Real
from typing import Any


def numbers(values: Mapping[Any, object], separator: str = ".") -> dict[str, object]:
    """Return the numbers by name. Names of nested mappings are joined by the separator.

    Tensors with one element are returned as they are, so that nothing waits for their device. Other numbers, also those
    of NumPy, become floats. Everything else is left out: booleans, strings, images, tables, histograms.
    """
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            inner = numbers(value, separator)
            found.update({f"{name}{separator}{part}": number for part, number in inner.items()})
        elif (number := _number(value)) is not None:
            found[str(name)] = number
    return found


def _number(value: object) -> object | None:
    if type(value) is float:  # the usual case
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, Real):  # NumPy's numbers are registered as such
        return float(value)
    if (tensor := _type("torch", "Tensor")) is not None and isinstance(value, tensor):
        kind = str(value.dtype)  # type: ignore[attr-defined]
        return value if value.numel() == 1 and "bool" not in kind and "complex" not in kind else None  # type: ignore[attr-defined]
    if (array := _type("numpy", "ndarray")) is not None and isinstance(value, array):
        return float(value.item()) if value.size == 1 and value.dtype.kind in "fiu" else None  # type: ignore[attr-defined]
    return None


def _type(module: str, name: str) -> type | None:
    """Return a type of a library, if the script has imported it."""
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None
