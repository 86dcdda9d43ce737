"""The values of parameters, and what all forms of a parameter have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, PlainValidator

from sweeper.mistakes import STRICT, refused, shown


class MappingValue(dict[str, object]):
    """A mapping as the value of a parameter. It is not changed, so it has a hash, as the other values have."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dictionary has none
        return hash(identity(self))


Value: TypeAlias = bool | int | float | str | tuple[object, ...] | MappingValue | None
"""The value of a parameter. Lists are stored as tuples of values (pydantic 2 cannot follow a recursive alias)."""


def identity(value: object) -> tuple[object, ...]:
    """Return a key that is equal for values that make equal trials: `1` and `1.0` do, `1` and `true` do not.

    Lists and mappings may be those of a sweep or those of a record, which has lists where a sweep has tuples.
    """
    if isinstance(value, tuple | list):
        return ("list", *(identity(item) for item in value))
    if isinstance(value, Mapping):
        return ("mapping", *sorted((name, identity(item)) for name, item in value.items()))
    return (isinstance(value, bool), value)


def _value(value: object) -> Value:
    match value:
        case None | bool() | str() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case float():
            raise refused("a finite number")
        case list() | tuple():
            return tuple(_value(item) for item in value)
        case Mapping() if all(isinstance(name, str) for name in value):
            return MappingValue({name: _value(item) for name, item in value.items()})
        case _:
            raise refused("a number, text, true, false, null, or a list or mapping of these")


def _listed(value: object) -> object:
    """Return the value with lists instead of tuples. pydantic's own serializer warns about nested tuples."""
    if isinstance(value, Mapping):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


Given: TypeAlias = Annotated[Value, PlainValidator(_value), PlainSerializer(_listed)]


def number(value: object) -> int | float:
    """Return a finite number; refuse anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused("a number")
    if not math.isfinite(value):
        raise refused("a finite number")
    return value


def without_repetition(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the values; refuse two values that make the same trial."""
    seen: set[tuple[object, ...]] = set()
    for value in values:
        if identity(value) in seen:
            raise refused("each value only once", got=f"{shown(value)} twice")
        seen.add(identity(value))
    return values


def exact(number: float) -> Fraction:
    """Return the number as it is written in decimal, which most floats only approximate."""
    return Fraction(repr(number))


def multiple_of(quantum: float, factor: int) -> int | float:
    """Return `factor * quantum` without rounding errors: 0.3, where 3 * 0.1 is 0.30000000000000004."""
    product = exact(quantum) * factor
    return int(product) if isinstance(quantum, int) else float(product)


def _alternatives(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


class Conditional(BaseModel):
    """The base of all parameters. `when: {optimizer: adam}` limits one to configurations with these values."""

    model_config = STRICT
    when: Mapping[
        str, Annotated[tuple[Given, ...], Field(strict=False, min_length=1), BeforeValidator(_alternatives)]
    ] = {}
