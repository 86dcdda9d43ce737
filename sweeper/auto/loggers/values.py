"""Find the numbers among the values that a library was asked to log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.worker.scalars import is_boolean, number_of


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
    """Return the number in a value, which is what the trial API takes for one, except a boolean: it is a setting."""
    if type(value) is float:  # the usual case
        return value
    return None if is_boolean(value) else number_of(value)
