"""Known settings: the entries of `start_with`, each of which fixes some parameters of a configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.config.model.conditions import applies, in_dependency_order
from sweeper.config.model.parameters import Choice, Constant, Distribution, Parameter, Range
from sweeper.config.model.shapes import Beta, Normal
from sweeper.config.model.values import Value, identity, multiple_of
from sweeper.mistakes import listed, shown

Setting = Mapping[str, Value]
"""The values of some of the parameters."""


def taken(parameter: Parameter, value: object) -> Value:
    """Return a value as the parameter takes it: the `1.0` of its list for `1`, a float in a continuous range.

    Raises:
        ValueError: the parameter does not take the value. The message says what it takes.
    """
    match parameter:
        case Range():
            return _in_range(parameter, value)
        case Normal() | Beta():
            return _of_shape(parameter, value)
        case Choice():
            values = parameter.values
        case _:
            values = (parameter.value,)
    for known in values:
        if identity(known) == identity(value):
            return known
    raise ValueError(range_text(parameter))


def _in_range(parameter: Range, value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and parameter.min <= value <= parameter.max:
        if parameter.distribution in (Distribution.UNIFORM, Distribution.LOG_UNIFORM):
            return float(value)
        if (factor := parameter.factor_of(value)) is not None:
            return parameter.multiple(factor)
    raise ValueError(range_text(parameter))


def _of_shape(parameter: Normal | Beta, value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        within = 0 <= value <= 1 if isinstance(parameter, Beta) else value > 0 or not parameter.distribution.log
        rounded = value if parameter.q is None else multiple_of(parameter.q, round(value / parameter.q))
        if within and rounded == value:
            return float(value) if parameter.q is None else rounded
    raise ValueError(range_text(parameter))


def range_text(parameter: Parameter) -> str:
    """Return the values that a parameter takes, in words: `a number from 1e-5 to 0.01`, `1 or 2`."""
    match parameter:
        case Choice(values=values):
            return listed([shown(value) for value in values])
        case Range(distribution=Distribution.INT_UNIFORM):
            what = "a whole number"
        case Range(q=q) if q is not None:
            what = f"a multiple of {shown(q)}"
        case Range():
            what = "a number"
        case Normal() | Beta():
            return _shape_text(parameter)
        case _:
            return f"the constant {shown(parameter.value)}"
    return f"{what} from {shown(parameter.min)} to {shown(parameter.max)}"


def _shape_text(parameter: Normal | Beta) -> str:
    what = "a number" if parameter.q is None else f"a multiple of {shown(parameter.q)}"
    if isinstance(parameter, Beta):
        return f"{what} from 0 to 1"
    return f"{what} above 0" if parameter.distribution.log else what


def setting_of(parameters: Mapping[str, Parameter], entry: Mapping[str, object]) -> Setting:
    """Return an entry of `start_with` with its values as the parameters take them, in the order of the parameters.

    Raises:
        ValueError: a parameter does not take its value.
    """
    return {name: taken(parameter, entry[name]) for name, parameter in parameters.items() if name in entry}


@dataclass(frozen=True, slots=True)
class Demands:
    """What a setting asks of the parameters that others depend on, so that all of its own parameters apply.

    Attributes:
        values: the values that each of these parameters may have.
        contradictions: pairs of a parameter that then never applies, and the one that it depends on.
    """

    values: Mapping[str, tuple[Value, ...]]
    contradictions: tuple[tuple[str, str], ...]


def demands(parameters: Mapping[str, Parameter], setting: Setting) -> Demands:
    """Return what a setting asks of the parameters that its own parameters depend on, directly or by others."""
    needed: dict[str, tuple[Value, ...]] = {}
    contradictions = []
    for name in reversed(in_dependency_order(parameters)):  # each before those that it depends on
        if name not in setting and name not in needed:
            continue
        for parent, values in parameters[name].when.items():
            allowed = set(map(identity, values))
            possible = needed.get(parent, _options(parameters[parent], setting, parent))
            needed[parent] = tuple(value for value in possible if identity(value) in allowed)
            if possible and not needed[parent]:
                contradictions.append((name, parent))
    return Demands(needed, tuple(contradictions))


def _options(parameter: Parameter, setting: Setting, name: str) -> tuple[Value, ...]:
    if name in setting:
        return (setting[name],)
    match parameter:
        case Choice(values=values):
            return values
        case Constant(value=value):
            return (value,)
        case _:
            return ()


def whole(parameters: Mapping[str, Parameter], setting: Setting) -> Setting | None:
    """Return the configuration that a setting fixes; None if it leaves a parameter to the search."""
    params: dict[str, Value] = {}
    for name in in_dependency_order(parameters):
        parameter = parameters[name]
        if not applies(parameter, params):
            continue
        if name in setting:
            params[name] = setting[name]
        elif isinstance(parameter, Constant):
            params[name] = parameter.value
        else:
            return None
    return params
