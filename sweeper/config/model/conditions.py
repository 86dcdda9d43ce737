"""Conditional parameters: which parameters a configuration has, given the values of those that they depend on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sweeper.config.model.parameters import Choice, Parameter, Range, Value, identity


def in_dependency_order(parameters: Mapping[str, Parameter]) -> list[str]:
    """The names, each after those that its condition is on, else in the order of the file.

    Raises:
        ValueError: conditions go round in a circle, or are on what is no parameter.
    """
    ordered: dict[str, None] = {}
    while len(ordered) < len(parameters):
        ready = (n for n, p in parameters.items() if n not in ordered and p.when.keys() <= ordered.keys())
        name = next(ready, None)
        if name is None:
            raise ValueError(f"conditions without a beginning: {sorted(parameters.keys() - ordered.keys())}")
        ordered[name] = None
    return list(ordered)


def applies(parameter: Parameter, params: Mapping[str, object]) -> bool:
    """Whether a configuration with these values so far has the parameter: all of its condition holds."""
    return all(
        name in params and identity(_value(params[name])) in map(identity, values)
        for name, values in parameter.when.items()
    )


def grid_size(parameters: Mapping[str, Parameter], *, most: int) -> int:
    """How many combinations a grid has; past `most`, only that they are more.

    Counted without making them: the combinations of those values alone that others depend on are told apart.
    """
    parents = {name for parameter in parameters.values() for name in parameter.when}
    counts: Counter[tuple[tuple[str, object], ...]] = Counter({(): 1})
    for name in in_dependency_order(parameters):
        parameter, extended = parameters[name], Counter[tuple[tuple[str, object], ...]]()
        for begun, count in counts.items():
            if not applies(parameter, dict(begun)):
                extended[begun] += count
            elif name in parents and not isinstance(parameter, Range):
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


def _value(value: object) -> Value:
    """The value as the spec has it: tuples, where the record has lists."""
    return tuple(_value(item) for item in value) if isinstance(value, list | tuple) else value  # type: ignore[return-value]  # it was made from a spec
