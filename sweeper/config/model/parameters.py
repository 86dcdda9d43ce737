"""The models of a parameter: a constant, one of several values, or a number from a range."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
)

from sweeper.mistakes import STRICT, listed, refused, shown, suggested


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
"""A value as a sweep file has it."""


def _number(value: object) -> int | float:
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


class Distribution(StrEnum):
    """How values are drawn from a range. The names are W&B's."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "log_uniform_values"
    INT_UNIFORM = "int_uniform"
    Q_UNIFORM = "q_uniform"
    Q_LOG_UNIFORM = "q_log_uniform_values"

    @property
    def log(self) -> bool:
        """Whether the logarithm of the value is uniformly distributed."""
        return self in {Distribution.LOG_UNIFORM, Distribution.Q_LOG_UNIFORM}

    @property
    def quantized(self) -> bool:
        """Whether values are multiples of `q`."""
        return self in {Distribution.Q_UNIFORM, Distribution.Q_LOG_UNIFORM}


_EXPONENTS = "its bounds are exponents of e: write {}, with the bounds of the values themselves"
_UNBOUNDED = "it has no bounds, which samplers need: write {}, with min and max"

UNSUPPORTED: Mapping[str, str] = {
    "log_uniform": _EXPONENTS.format("log_uniform_values"),
    "q_log_uniform": _EXPONENTS.format("q_log_uniform_values"),
    "inv_log_uniform": _EXPONENTS.format("log_uniform_values"),
    "inv_log_uniform_values": "write log_uniform_values, which is the same",
    "normal": _UNBOUNDED.format("uniform"),
    "q_normal": _UNBOUNDED.format("q_uniform"),
    "log_normal": _UNBOUNDED.format("log_uniform_values"),
    "q_log_normal": _UNBOUNDED.format("q_log_uniform_values"),
    "beta": "write uniform, with min 0 and max 1",
    "q_beta": "write q_uniform, with min 0, max 1 and q",
    "categorical_w_probabilities": "write values without probabilities: the sampler learns how often to try each value",
}
"""W&B's distributions that are not supported, each with what to write instead. `config.read.wandb` translates others.

https://docs.wandb.ai/models/sweeps/sweep-config-keys, section "Distribution options for random and Bayesian search".
"""

FORM_NAMES: Mapping[str, str] = {"constant": "value", "categorical": "values"}
"""W&B's distributions that only repeat the form of the parameter, each with the key of that form."""


def _alternatives(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


class Conditional(BaseModel):
    """The base of all parameters. `when: {optimizer: adam}` limits one to configurations with these values."""

    model_config = STRICT
    when: Mapping[
        str, Annotated[tuple[Given, ...], Field(strict=False, min_length=1), BeforeValidator(_alternatives)]
    ] = {}


class Constant(Conditional):
    """The same value for every trial, for example `{value: 0.1}`."""

    value: Given


class Choice(Conditional):
    """One of several different values, for example `{values: [1e-4, 3e-4, 1e-3]}`."""

    values: Annotated[tuple[Given, ...], Field(strict=False, min_length=1)]

    _distinct = field_validator("values")(without_repetition)


class Range(Conditional):
    """A number from `min` to `max`, both included, for example `{min: 1, max: 8}`.

    Without `distribution`, it is `q_uniform` if there is a `q`, `int_uniform` for whole bounds, or `uniform`.
    With a `q_` distribution, values are multiples of `q`. `{min: 1e-5, max: 1e-2, distribution: log_uniform_values}`
    suits a learning rate.
    """

    # First, because the checks of the bounds depend on it.
    distribution: Annotated[Distribution, Field(strict=False)]
    min: Annotated[int | float, PlainValidator(_number)]
    max: Annotated[int | float, PlainValidator(_number)]
    q: Annotated[int | float | None, PlainValidator(lambda q: q if q is None else _number(q))] = None

    @field_validator("min", "max")
    @classmethod
    def _fits_distribution(cls, bound: float, info: ValidationInfo) -> int | float:
        distribution = info.data.get("distribution")
        if distribution is not None and distribution.log and bound <= 0:
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

    @field_validator("q")
    @classmethod
    def _fits_range(cls, q: float | None, info: ValidationInfo) -> int | float | None:
        distribution, least, most = (info.data.get(name) for name in ("distribution", "min", "max"))
        if q is None or distribution is None:
            return q
        if not distribution.quantized:
            raise refused(f"no q for {distribution}", hint=f"{Distribution.Q_UNIFORM} takes one")
        if q <= 0:
            raise refused("a number above 0")
        if least is not None and most is not None and not _multiples(least, most, q):
            raise refused(f"a number with a multiple from {shown(least)} to {shown(most)}")
        return q

    @property
    def factors(self) -> range:
        """The values of a discrete range divided by `quantum`: value = factor * quantum."""
        return _multiples(self.min, self.max, self.quantum)

    @property
    def quantum(self) -> int | float:
        """The number that all values of a discrete range are multiples of."""
        return 1 if self.q is None else self.q

    def factor_of(self, value: float) -> int | None:
        """Return a value of a discrete range divided by `quantum`; None if it is no multiple."""
        factor = _exact(value) / _exact(self.quantum)
        return factor.numerator if factor.denominator == 1 else None

    def multiple(self, factor: int) -> int | float:
        """Return `factor * quantum` without rounding errors: 0.3, where 3 * 0.1 is 0.30000000000000004."""
        exact = _exact(self.quantum) * factor
        return int(exact) if isinstance(self.quantum, int) else float(exact)


def _multiples(least: float, most: float, q: float) -> range:
    """Return the whole numbers that, times `q`, are between `least` and `most`, both included."""
    return range(math.ceil(_exact(least) / _exact(q)), math.floor(_exact(most) / _exact(q)) + 1)


def _exact(number: float) -> Fraction:
    """Return the number as it is written in decimal, which most floats only approximate."""
    return Fraction(repr(number))


FORMS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "choice": ("values",),
    "range": ("min", "max", "q", "distribution"),
}
"""The forms of a parameter, each with the keys that identify it."""

_FORM_KEYS = tuple(key for keys in FORMS.values() for key in keys)


def parameter_keys() -> tuple[str, ...]:
    """Return all keys that parameters may have."""
    return (*_FORM_KEYS, "when")


def _forms(keys: Iterable[object]) -> list[str]:
    given = set(keys)
    return [form for form, own in FORMS.items() if given.intersection(own)]


def _form(data: object) -> str:
    """Return the form of a parameter, the tag of the union below. `_shaped` has checked that there is exactly one."""
    return _forms(data)[0] if isinstance(data, Mapping) else type(data).__name__.lower()


def _shaped(data: object) -> object:
    """Return a parameter's mapping with its distribution filled in; refuse a mapping of unclear form."""
    if isinstance(data, Constant | Choice | Range):
        return data
    if not isinstance(data, Mapping):
        hint = f"write {{{'values' if isinstance(data, list) else 'value'}: {shown(data)}}}"
        raise refused("a mapping with value, values, or min and max", hint=hint)
    data = _with_known_distribution(data)
    distribution = data.get("distribution")
    forms = _forms(data)
    if not forms:
        unknown = next((key for key in data if isinstance(key, str) and key != "when"), "")
        hint = suggested(unknown, parameter_keys())
        raise refused("one of value, values, or min and max", got=unknown or "an empty mapping", hint=hint)
    if len(forms) > 1:
        given = [key for key in data if key in _FORM_KEYS]
        raise refused("only one of value, values, or min and max", got=listed(given).replace(" or ", " and "))
    if forms == ["range"] and "distribution" not in data:
        data = {**data, "distribution": default_distribution(data)}
    if distribution in (Distribution.Q_UNIFORM, Distribution.Q_LOG_UNIFORM) and "q" not in data:
        return {**data, "q": 1}
    return data


def _with_known_distribution(data: Mapping[Any, object]) -> Mapping[Any, object]:
    """Return the mapping without a distribution that only repeats its form; refuse one that contradicts the form."""
    name = data.get("distribution")
    if not isinstance(name, str):
        return data
    if name in UNSUPPORTED:
        raise refused(f"a supported distribution ({listed(Distribution)})", got=name, hint=UNSUPPORTED[name])
    values = [key for key in ("value", "values") if key in data]
    known = [*Distribution, *FORM_NAMES]
    if values and name not in known:
        hint = suggested(name.lower(), [*known, *UNSUPPORTED])
        raise refused(f"a distribution ({listed(known)})", got=shown(name), hint=hint)
    if FORM_NAMES.get(name) in data:
        return {key: value for key, value in data.items() if key != "distribution"}
    if name in FORM_NAMES:
        others = [key for key in data if key in _FORM_KEYS and key != "distribution"] or ["nothing"]
        raise refused(f"{FORM_NAMES[name]} for {name}", got=listed(others).replace(" or ", " and "))
    if values and not {"min", "max", "q"} & set(data):
        hint = "leave distribution out to try the values as they are"
        raise refused(f"min and max for {name}", got=listed(values).replace(" or ", " and "), hint=hint)
    return data


def default_distribution(data: Mapping[Any, object]) -> Distribution:
    """Return the distribution of a range that names none: by its `q`, otherwise by whether its bounds are whole."""
    if data.get("q") is not None:
        return Distribution.Q_UNIFORM
    whole = all(type(data.get(bound)) is int for bound in ("min", "max"))
    return Distribution.INT_UNIFORM if whole else Distribution.UNIFORM


Parameter: TypeAlias = Annotated[
    Annotated[Constant, Tag("constant")] | Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
    Discriminator(_form),
    BeforeValidator(_shaped),
]
