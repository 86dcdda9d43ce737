"""Make one more configuration for a sweep from ``NAME=VALUE`` arguments, as `sweeper add` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.config.model.conditions import applies
from sweeper.config.model.parameters import Constant, Parameter
from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.node import plain
from sweeper.config.read.overrides import expected_of, split
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import listed, shown, suggested


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
            expected = f"a parameter of the sweep: {listed(spec.parameters)}"
            mistakes.append(Mistake(where=override.where, key="", expected=expected, got=override.key, hint=hint))
            continue
        declared = spec.parameters[override.key].model_dump(exclude={"when"}, exclude_none=True)
        node, wrong = override.node(("parameters", override.key), expected_of(declared))
        mistakes += wrong
        given[override.key] = plain(node)
        if isinstance(given[override.key], list | Mapping):
            expected, got = "one value", override.value
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
    return {name: values[name] for name in spec.parameters if name in needed}


def _conditions(parameter: Parameter) -> str:
    return " and ".join(
        f"{name}={listed([shown(value) for value in values])}" for name, values in parameter.when.items()
    )
