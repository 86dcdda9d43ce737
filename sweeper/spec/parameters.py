"""What the search may propose for one hyperparameter: a constant, one of some values, or a number in a range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from sweeper.spec.wording import listed, shown, suggested

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)
"""What every model of a spec is: unchanging, complete, and without conversions such as "3" -> 3 or true -> 1."""

Value: TypeAlias = bool | int | float | str | tuple[object, ...] | None
"""A value that a trial may be given. Lists are kept as tuples of values; pydantic 2 follows no recursive alias."""


def refused(expected: str, *, got: str = "", hint: str = "") -> PydanticCustomError:
    """The error of a validator, in the words of a ``Mistake``; without ``got``, the value itself is shown."""
    return PydanticCustomError("sweep", "{expected}", {"expected": expected, "got": got, "hint": hint})


def identity(value: object) -> tuple[object, ...]:
    """Equal exactly for values that make equal trials: ``1`` and ``1.0`` do, ``1`` and ``true`` do not."""
    if isinstance(value, tuple):
        return ("list", *(identity(item) for item in value))
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
        case _:
            raise refused("a number, text, true, false, null or a list of these")


def _listed(value: object) -> object:
    """The value with lists for tuples. Written out, because pydantic's union of kinds warns of nested ones."""
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


_Given: TypeAlias = Annotated[Value, PlainValidator(_value), PlainSerializer(_listed)]


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused("a number")
    if not math.isfinite(value):
        raise refused("a finite number")
    return value


def without_repetition(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The values, refused where two make the same trial."""
    seen: set[tuple[object, ...]] = set()
    for value in values:
        if identity(value) in seen:
            raise refused("every value only once", got=f"{shown(value)} twice")
        seen.add(identity(value))
    return values


class Distribution(StrEnum):
    """How a range is drawn from, in W&B's words."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform_values"
    INT_UNIFORM = "int_uniform"


class Constant(BaseModel):
    """The same value for every trial."""

    model_config = STRICT
    value: _Given


class Choice(BaseModel):
    """One of the values, which are all different."""

    model_config = STRICT
    values: Annotated[tuple[_Given, ...], Field(strict=False, min_length=1)]

    _distinct = field_validator("values")(without_repetition)


class Range(BaseModel):
    """A number from ``min`` to ``max``, both included."""

    model_config = STRICT
    # First, because the checks of the bounds depend on it.
    distribution: Annotated[Distribution, Field(strict=False)]
    min: Annotated[int | float, PlainValidator(_number)]
    max: Annotated[int | float, PlainValidator(_number)]

    @field_validator("min", "max")
    @classmethod
    def _fits_distribution(cls, bound: float, info: ValidationInfo) -> int | float:
        distribution = info.data.get("distribution")
        if distribution is Distribution.LOG_UNIFORM and bound <= 0:
            raise refused(f"a number above 0 for {distribution}")
        if distribution is Distribution.INT_UNIFORM and not isinstance(bound, int):
            raise refused(f"a whole number for {distribution}")
        return bound

    @field_validator("max")
    @classmethod
    def _above_min(cls, bound: float, info: ValidationInfo) -> int | float:
        least = info.data.get("min")
        if least is not None and bound <= least:
            raise refused(f"a number above min, which is {shown(least)}")
        return bound


FORMS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "choice": ("values",),
    "range": ("min", "max", "distribution"),
}
"""The forms of a parameter and the keys that mark them."""


def parameter_keys() -> tuple[str, ...]:
    """Every key that a parameter of some form may have."""
    return tuple(key for keys in FORMS.values() for key in keys)


def _forms(keys: Iterable[object]) -> list[str]:
    given = set(keys)
    return [form for form, own in FORMS.items() if given.intersection(own)]


def _form(data: object) -> str:
    """The tag of the union below; ``_shaped`` has seen to it that there is exactly one."""
    return _forms(data)[0] if isinstance(data, Mapping) else type(data).__name__.lower()


def _shaped(data: object) -> object:
    """The mapping, with the distribution that W&B takes where none is named; refused where its form is unclear."""
    if isinstance(data, Constant | Choice | Range):
        return data
    if not isinstance(data, Mapping):
        hint = f"write {{{'values' if isinstance(data, list) else 'value'}: {shown(data)}}}"
        raise refused("a mapping with value, values, or min and max", hint=hint)
    forms = _forms(data)
    if not forms:
        unknown = next((key for key in data if isinstance(key, str)), "")
        hint = suggested(unknown, parameter_keys())
        raise refused("one of value, values, or min and max", got=unknown or "an empty mapping", hint=hint)
    if len(forms) > 1:
        given = [key for key in data if key in parameter_keys()]
        raise refused("only one of value, values, or min and max", got=listed(given).replace(" or ", " and "))
    if forms == ["range"] and "distribution" not in data:
        whole = all(type(data.get(bound)) is int for bound in ("min", "max"))
        return {**data, "distribution": Distribution.INT_UNIFORM if whole else Distribution.UNIFORM}
    return data


Parameter: TypeAlias = Annotated[
    Annotated[Constant, Tag("constant")] | Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
    Discriminator(_form),
    BeforeValidator(_shaped),
]
