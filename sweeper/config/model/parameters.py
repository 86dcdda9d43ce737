"""The models of a parameter: a constant, one of several values, or a number from a range or of a given shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, ValidationInfo, field_validator

from sweeper.config.model.shapes import Beta, BetaShape, Normal, NormalShape
from sweeper.config.model.values import Conditional, Given, exact, multiple_of, number, without_repetition
from sweeper.mistakes import listed, one_of, refused, shown, suggested


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


SHAPES: Mapping[str, str] = {**dict.fromkeys(NormalShape, "normal"), **dict.fromkeys(BetaShape, "beta")}
"""The distributions without bounds, each with the form of its parameter."""

EXPONENTS: Mapping[str, str] = {
    "log_uniform": "log_uniform_values",
    "q_log_uniform": "q_log_uniform_values",
    "inv_log_uniform": "log_uniform_values",
}
"""W&B's distributions with bounds that are exponents of e, each with the one that takes the values themselves.

`config.read.wandb` translates them, unless their bounds look like values.
https://docs.wandb.ai/models/sweeps/sweep-config-keys, section "Distribution options for random and Bayesian search".
"""

FORM_NAMES: Mapping[str, str] = {
    "constant": "value",
    "categorical": "values",
    "categorical_w_probabilities": "values",
}
"""W&B's distributions that only repeat the form of the parameter, each with the key of that form."""

ROUNDED_SUM = 0.02
"""How far from 1 the sum of probabilities may be: `[0.33, 0.33, 0.33]` is what people write for thirds."""


class Constant(Conditional):
    """The same value for every trial, for example `{value: 0.1}`."""

    value: Given


class Choice(Conditional):
    """One of several different values, for example `{values: [1e-4, 3e-4, 1e-3]}`.

    `probabilities` says how often the search tries each value before it has learned anything; unset, all equally often.
    """

    values: Annotated[tuple[Given, ...], Field(strict=False, min_length=1)]
    probabilities: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False)] | None = None

    _distinct = field_validator("values")(without_repetition)

    @field_validator("probabilities")
    @classmethod
    def _fits_values(cls, given: tuple[float, ...] | None, info: ValidationInfo) -> tuple[float, ...] | None:
        values = info.data.get("values")
        if given is None or values is None:
            return given
        if len(given) != len(values):
            raise refused(f"a probability for each of the {len(values)} values", got=f"{len(given)} of them")
        if not abs(math.fsum(given) - 1) <= ROUNDED_SUM:
            raise refused("probabilities that add up to 1", got=f"a sum of {shown(round(math.fsum(given), 6))}")
        return given


class Range(Conditional):
    """A number from `min` to `max`, both included, for example `{min: 1, max: 8}`.

    Without `distribution`, it is `q_uniform` if there is a `q`, `int_uniform` for whole bounds, or `uniform`.
    With a `q_` distribution, values are multiples of `q`. `{min: 1e-5, max: 1e-2, distribution: log_uniform_values}`
    suits a learning rate.
    """

    # First, because the checks of the bounds depend on it.
    distribution: Annotated[Distribution, Field(strict=False)]
    min: Annotated[int | float, PlainValidator(number)]
    max: Annotated[int | float, PlainValidator(number)]
    q: Annotated[int | float | None, PlainValidator(lambda q: q if q is None else number(q))] = None

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
        factor = exact(value) / exact(self.quantum)
        return factor.numerator if factor.denominator == 1 else None

    def multiple(self, factor: int) -> int | float:
        """Return `factor * quantum` without rounding errors: 0.3, where 3 * 0.1 is 0.30000000000000004."""
        return multiple_of(self.quantum, factor)


def _multiples(least: float, most: float, q: float) -> range:
    """Return the whole numbers that, times `q`, are between `least` and `most`, both included."""
    return range(math.ceil(exact(least) / exact(q)), math.floor(exact(most) / exact(q)) + 1)


FORMS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "choice": ("values", "probabilities"),
    "range": ("min", "max", "q", "distribution"),
    "normal": ("mu", "sigma", "q", "distribution"),
    "beta": ("a", "b", "q", "distribution"),
}
"""The forms of a parameter, each with its keys."""


def parameter_keys() -> tuple[str, ...]:
    """Return all keys that parameters may have."""
    return (*dict.fromkeys(key for keys in FORMS.values() for key in keys), "when")


def _forms(data: Mapping[Any, object]) -> list[str]:
    """Return the forms that a parameter has keys of. A shape is known by its distribution."""
    shape = _shape(data)
    found = [form for form in ("constant", "choice") if any(key in data for key in FORMS[form])]
    return found + ([shape] if shape else ["range"] if any(key in data for key in FORMS["range"]) else [])


def _shape(data: Mapping[Any, object]) -> str:
    name = data.get("distribution")
    return SHAPES.get(name, "") if isinstance(name, str) else ""


def _form(data: object) -> str:
    """Return the form of a parameter, the tag of the union below. `_shaped` has checked that there is exactly one."""
    return _forms(data)[0] if isinstance(data, Mapping) else type(data).__name__.lower()


def _shaped(data: object) -> object:
    """Return a parameter's mapping with its distribution filled in; refuse a mapping of unclear form."""
    if isinstance(data, Conditional):
        return data
    if not isinstance(data, Mapping):
        hint = f"write {{{'values' if isinstance(data, list) else 'value'}: {shown(data)}}}"
        raise refused("a mapping with value, values, or min and max", hint=hint)
    data = _with_known_distribution(data)
    forms = _forms(data)
    if not forms:
        unknown = next((key for key in data if isinstance(key, str) and key != "when"), "")
        hint = suggested(unknown, parameter_keys())
        if unknown in (*FORMS["normal"], *FORMS["beta"]):
            hint = "write distribution too, or {value: {...}} for a mapping as the value"
        raise refused("one of value, values, or min and max", got=unknown or "an empty mapping", hint=hint)
    if len(forms) > 1:
        given = [key for key in data if key in parameter_keys()]
        raise refused("only one of value, values, or min and max", got=listed(given).replace(" or ", " and "))
    if forms == ["range"] and "distribution" not in data:
        data = {**data, "distribution": default_distribution(data)}
    name = data.get("distribution")
    return {**data, "q": 1} if isinstance(name, str) and name.startswith("q_") and "q" not in data else data


def _with_known_distribution(data: Mapping[Any, object]) -> Mapping[Any, object]:
    """Return the mapping without a distribution that only repeats its form; refuse one that contradicts the form."""
    name = data.get("distribution")
    if not isinstance(name, str):
        return data
    known = [*Distribution, *SHAPES, *FORM_NAMES]
    if name in EXPONENTS:
        hint = f"its bounds are exponents of e: write {EXPONENTS[name]}, with the bounds of the values themselves"
        raise refused(f"a supported distribution ({listed(Distribution)})", got=name, hint=hint)
    values = [key for key in ("value", "values") if key in data]
    if name not in known and not {"min", "max"} <= data.keys():
        hint = suggested(name.lower(), [*known, *EXPONENTS])
        raise refused(f"a distribution ({one_of(known, name.lower())})", got=shown(name), hint=hint)
    if FORM_NAMES.get(name) in data:
        return {key: value for key, value in data.items() if key != "distribution"}
    if name in FORM_NAMES:
        others = [key for key in data if key in parameter_keys() and key != "distribution"] or ["nothing"]
        raise refused(f"{FORM_NAMES[name]} for {name}", got=listed(others).replace(" or ", " and "))
    own = FORMS[SHAPES.get(name, "range")]
    others = [key for key in ("value", "values", "min", "max") if key in data and key not in own]
    if others and (name in SHAPES or not {"min", "max", "q"} & set(data)):
        hint = "leave distribution out to try the values as they are" if values else f"{name} has no bounds"
        needed = " and ".join(own[:2])
        raise refused(f"{needed} for {name}", got=listed(others).replace(" or ", " and "), hint=hint)
    return data


def default_distribution(data: Mapping[Any, object]) -> Distribution:
    """Return the distribution of a range that names none: by its `q`, otherwise by whether its bounds are whole."""
    if data.get("q") is not None:
        return Distribution.Q_UNIFORM
    whole = all(type(data.get(bound)) is int for bound in ("min", "max"))
    return Distribution.INT_UNIFORM if whole else Distribution.UNIFORM


Parameter: TypeAlias = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Range, Tag("range")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Beta, Tag("beta")],
    Discriminator(_form),
    BeforeValidator(_shaped),
]
