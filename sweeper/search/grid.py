"""Grid search: every combination of values once, in the order of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from sweeper.config import Choice, Constant, Parameter, Range, applies, in_dependency_order
from sweeper.search.proposal import Configuration


class Grid:
    """All combinations of values; the last parameter varies fastest, conditional ones only where they apply."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = parameters
        self._names = in_dependency_order(parameters)

    @property
    def eager(self) -> bool:
        """True: a grid is known from the start."""
        return True

    def propose(self, seen: Sequence[Configuration]) -> Configuration | None:
        """Return the first combination that was not seen; None if all were."""
        return next(self.proposals(seen), None)

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """Yield the combinations that were not seen."""
        known = {_identity(configuration.params) for configuration in seen}
        points = (point for point in self.points() if _identity(point) not in known)
        for number, point in enumerate(points, len(seen)):
            yield Configuration(number=number, params=point)

    def points(self) -> Iterator[Mapping[str, object]]:
        """Yield every combination, in the order of the file."""
        yield from self._extended({})

    def _extended(self, begun: Mapping[str, object], done: int = 0) -> Iterator[Mapping[str, object]]:
        """Yield every combination that starts with the values in `begun`, which cover the first `done` parameters."""
        if done == len(self._names):
            yield begun
            return
        name = self._names[done]
        parameter = self._parameters[name]
        if not applies(parameter, begun):
            yield from self._extended(begun, done + 1)
            return
        for value in values_of(parameter):
            yield from self._extended({**begun, name: value}, done + 1)


def values_of(parameter: Parameter) -> Sequence[object]:
    """Return every value that a parameter of a grid can take."""
    match parameter:
        case Constant():
            return [parameter.value]
        case Choice():
            return parameter.values
        case Range():
            return [parameter.multiple(factor) for factor in parameter.factors]


def _identity(params: Mapping[str, object]) -> str:
    return json.dumps(params, sort_keys=True)
