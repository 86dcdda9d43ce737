"""One more configuration for a sweep, from ``NAME=VALUE`` arguments: `sweeper add`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.errors import Mistake, SpecError
from sweeper.spec.model import SweepSpec
from sweeper.spec.node import plain
from sweeper.spec.overrides import split
from sweeper.spec.parameters import Constant
from sweeper.spec.wording import listed, suggested


def configuration(spec: SweepSpec, arguments: Sequence[str]) -> dict[str, object]:
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
    missing = [name for name in spec.parameters if name not in given and name not in constants]
    if missing and not mistakes:
        expected = "a value for each parameter that the sweep varies"
        mistakes.append(Mistake(where="command line", key="", expected=expected, got=f"none for {listed(missing)}"))
    if mistakes:
        raise SpecError(mistakes)
    return {name: given.get(name, constants.get(name)) for name in spec.parameters}
