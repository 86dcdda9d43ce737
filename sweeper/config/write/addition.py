"""Make one more configuration for a sweep from ``NAME=VALUE`` arguments, as `sweeper add` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.config.model.conditions import applies
from sweeper.config.model.known import taken
from sweeper.config.model.parameters import Choice, Constant, Parameter, Range
from sweeper.config.model.shapes import Beta, Normal
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.model.values import Value, identity
from sweeper.config.read.node import plain
from sweeper.config.read.overrides import expected_of, split
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import IN_FILE, listed, one_of, shown, suggested


def added_configuration(spec: SweepSpec, arguments: Sequence[str]) -> dict[str, object]:
    """Return the parameters of a configuration: the given ones and the sweep's constants.

    Every parameter that the sweep varies must be given. Other parameters are refused, because the sweep's other trials
    do not have them.

    Raises:
        SpecError: an argument is wrong or missing. The error has all mistakes.
    """
    overrides, mistakes = split(arguments)
    given: dict[str, object] = {}
    for override in overrides:
        if override.key not in spec.parameters:
            hint = suggested(override.key, spec.parameters)
            expected = f"a parameter of the sweep: {one_of(spec.parameters, override.key, IN_FILE)}"
            mistakes.append(Mistake(where=override.where, key="", expected=expected, got=override.key, hint=hint))
            continue
        declared = spec.parameters[override.key].model_dump(exclude={"when"}, exclude_none=True)
        node, wrong = override.node(("parameters", override.key), expected_of(declared))
        mistakes += wrong
        given[override.key] = plain(node)
        expected, got = "", override.value
        if not _has_kind(spec.parameters[override.key], given[override.key]):
            expected = "one value"
        elif not wrong and _is_numeric(spec.parameters[override.key]) and not _is_number(given[override.key]):
            expected = "a number, as the sweep has"
        if expected:
            mistakes.append(Mistake(where=override.where, key=override.key, expected=expected, got=got))
    constants = {name: p.value for name, p in spec.parameters.items() if isinstance(p, Constant)}
    values = constants | given
    # A parameter that depends on a missing one is not reported as missing.
    needed = [name for name, parameter in spec.parameters.items() if applies(parameter, values)]
    missing = [name for name in needed if name not in values]
    for name in given.keys() - set(needed):
        expected = f"no {name}, which needs {_conditions(spec.parameters[name])}"
        mistakes.append(Mistake(where="command line", key="", expected=expected, got=name))
    if missing and not mistakes:
        expected = "a value for each parameter that the sweep varies"
        mistakes.append(Mistake(where="command line", key="", expected=expected, got=f"none for {listed(missing)}"))
    if mistakes:
        raise SpecError(mistakes)
    return {name: _as_taken(spec.parameters[name], values[name]) for name in spec.parameters if name in needed}


def outside_of(spec: SweepSpec, params: Mapping[str, object]) -> list[str]:
    """Return the values of a configuration that its sweep does not have, in words. A search learns nothing from it."""
    texts = []
    for name, value in params.items():
        try:
            taken(spec.parameters[name], value)
        except ValueError as error:
            texts.append(f"{name}={shown(value)} is not {error}")
    return texts


def _has_kind(parameter: Parameter, value: object) -> bool:
    """Return whether the value is a scalar, or the parameter has lists or mappings as values."""
    options: tuple[Value, ...] = ()
    match parameter:
        case Choice(values=values):
            options = values
        case Constant(value=constant):
            options = (constant,)
    return not isinstance(value, list | Mapping) or any(isinstance(one, tuple | Mapping) for one in options)


def _is_numeric(parameter: Parameter) -> bool:
    """Return whether the parameter has numbers only as its values."""
    match parameter:
        case Choice(values=values):
            return all(_is_number(one) for one in values)
        case Range() | Normal() | Beta():
            return True
    return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_taken(parameter: Parameter, value: object) -> object:
    """Return the value as the sweep has it, or as it is if the sweep does not have it."""
    try:
        return taken(parameter, value)
    except ValueError:
        return value


def is_configuration(spec: SweepSpec, params: Mapping[str, object]) -> bool:
    """Return whether values are those of one configuration of the sweep: one for each parameter that applies."""
    for name, value in params.items():
        parameter = spec.parameters.get(name)
        if isinstance(parameter, Constant) or parameter is None:
            if parameter is None or identity(value) != identity(parameter.value):
                return False
        elif not _has_kind(parameter, value) or (
            isinstance(parameter, Range | Normal | Beta)
            and (isinstance(value, bool) or not isinstance(value, int | float))
        ):
            return False
    return params.keys() == {name for name, parameter in spec.parameters.items() if applies(parameter, params)}


def _conditions(parameter: Parameter) -> str:
    return " and ".join(
        f"{name}={listed([shown(value) for value in values])}" for name, values in parameter.when.items()
    )
