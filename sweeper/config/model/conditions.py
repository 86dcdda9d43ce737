"""Conditional parameters: which parameters a configuration has, depending on the values of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sweeper.config.model.parameters import Choice, Constant, Parameter, Range
from sweeper.config.model.values import identity


def in_dependency_order(parameters: Mapping[str, Parameter]) -> list[str]:
    """Return the names of the parameters, each after those that it depends on, otherwise in the order of the file.

    Raises:
        ValueError: the conditions form a circle, or refer to an unknown parameter.
    """
    ordered: dict[str, None] = {}
    while len(ordered) < len(parameters):
        ready = (n for n, p in parameters.items() if n not in ordered and p.when.keys() <= ordered.keys())
        name = next(ready, None)
        if name is None:
            raise ValueError(f"circular conditions: {sorted(parameters.keys() - ordered.keys())}")
        ordered[name] = None
    return list(ordered)


def applies(parameter: Parameter, params: Mapping[str, object]) -> bool:
    """Return whether a configuration with the values `params` has the parameter: all of its conditions hold."""
    return all(
        name in params and identity(params[name]) in map(identity, values) for name, values in parameter.when.items()
    )


def grid_size(parameters: Mapping[str, Parameter], *, most: int) -> int:
    """Return the number of configurations in a grid; if there are more than `most`, some number above `most`.

    The configurations are counted without being listed: only values that other parameters depend on are distinguished.
    """
    parents = {name for parameter in parameters.values() for name in parameter.when}
    counts: Counter[tuple[tuple[str, object], ...]] = Counter({(): 1})
    for name in in_dependency_order(parameters):
        parameter, extended = parameters[name], Counter[tuple[tuple[str, object], ...]]()
        for begun, count in counts.items():
            if not applies(parameter, dict(begun)):
                extended[begun] += count
            elif name in parents and isinstance(parameter, Choice | Constant):
                for value in parameter.values if isinstance(parameter, Choice) else (parameter.value,):
                    extended[(*begun, (name, value))] += count
            else:
                extended[begun] += count * _count(parameter)
        counts = extended
        if counts.total() > most:
            break
    return counts.total()


def _count(parameter: Parameter) -> int:
    match parameter:
        case Choice():
            return len(parameter.values)
        case Range():
            return parameter.factors.stop - parameter.factors.start  # len() knows 64 bits only
        case _:
            return 1
