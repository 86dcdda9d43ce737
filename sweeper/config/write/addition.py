"""One more configuration for a sweep, from ``NAME=VALUE`` arguments: `sweeper add`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.config.model.conditions import applies
from sweeper.config.model.parameters import Constant, Parameter
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.node import plain
from sweeper.config.read.overrides import split
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import listed, shown, suggested


def added_configuration(spec: SweepSpec, arguments: Sequence[str]) -> dict[str, object]:
    """The parameters of the configuration: what is given, and the sweep's constants.

    A parameter that the sweep varies has to be given; one that it does not name is refused, since the other trials do
    not have it.

    Raises:
        SpecError: an argument is wrong or missing; all mistakes are in it.
    """
    overrides, mistakes = split(arguments)
    given: dict[str, object] = {}
    for override in overrides:
        if override.key not in spec.parameters:
            hint = suggested(override.key, spec.parameters)
            expected = f"a parameter of the sweep: {listed(spec.parameters)}"
            mistakes.append(Mistake(where=override.where, key="", expected=expected, got=override.key, hint=hint))
            continue
        node, wrong = override.node(("parameters", override.key))
        mistakes += wrong
        given[override.key] = plain(node)
        if isinstance(given[override.key], list | Mapping):
            expected, got = "one value", override.value
            mistakes.append(Mistake(where=override.where, key=override.key, expected=expected, got=got))
    constants = {name: p.value for name, p in spec.parameters.items() if isinstance(p, Constant)}
    held = constants | given
    # One that depends on what is not given is not missed before that is.
    asked = [name for name, parameter in spec.parameters.items() if applies(parameter, held)]
    missing = [name for name in asked if name not in held]
    for name in given.keys() - set(asked):
        expected = f"a parameter of a configuration with {_conditions(spec.parameters[name])}"
        mistakes.append(Mistake(where="command line", key="", expected=expected, got=name))
    if missing and not mistakes:
        expected = "a value for each parameter that the sweep varies"
        mistakes.append(Mistake(where="command line", key="", expected=expected, got=f"none for {listed(missing)}"))
    if mistakes:
        raise SpecError(mistakes)
    return {name: held[name] for name in spec.parameters if name in asked}


def _conditions(parameter: Parameter) -> str:
    return " and ".join(
        f"{name}={listed([shown(value) for value in values])}" for name, values in parameter.when.items()
    )
