"""Grid search: every combination of values once: those of `start_with` first, then in the order of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from sweeper.config import Choice, Constant, Parameter, Range, Setting, applies, in_dependency_order
from sweeper.search.proposal import Configuration


class Grid:
    """All combinations of values; the last parameter varies fastest, conditional ones only where they apply."""

    def __init__(self, parameters: Mapping[str, Parameter], start: Sequence[Setting] = ()) -> None:
        self._parameters = parameters
        self._start = start
        self._names = in_dependency_order(parameters)

    @property
    def notes(self) -> Sequence[str]:
        """Nothing: a grid has no state."""
        return ()

    @property
    def eager(self) -> bool:
        """True: a grid is known from the start."""
        return True

    def is_over(self, seen: Sequence[Configuration]) -> bool:  # noqa: ARG002 - as `Search` has it
        """Return True: no proposal waits for a result."""
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
        """Yield every combination once: those of `start_with`, then the others in the order of the file."""
        known = set()
        for point in self.known_points():
            known.add(_identity(point))
            yield point
        yield from (point for point in self._extended({}) if not known or _identity(point) not in known)

    def known_points(self) -> Iterator[Mapping[str, object]]:
        """Yield the combinations that have a setting of `start_with`, in the order of the settings, each once."""
        known = set()
        for setting in self._start:
            for point in self._extended({}, setting):
                if (identity := _identity(point)) not in known:
                    known.add(identity)
                    yield point

    def _extended(
        self, begun: Mapping[str, object], setting: Setting = MappingProxyType({}), done: int = 0
    ) -> Iterator[Mapping[str, object]]:
        """Yield every combination with a setting, and with the values in `begun` of the first `done` parameters."""
        if done == len(self._names):
            yield begun
            return
        name = self._names[done]
        parameter = self._parameters[name]
        if not applies(parameter, begun):
            if name not in setting:
                yield from self._extended(begun, setting, done + 1)
            return
        for value in (setting[name],) if name in setting else values_of(parameter):
            yield from self._extended({**begun, name: value}, setting, done + 1)


def values_of(parameter: Parameter) -> Sequence[object]:
    """Return every value that a parameter of a grid can take."""
    match parameter:
        case Constant():
            return [parameter.value]
        case Choice():
            return parameter.values
        case Range():
            return [parameter.multiple(factor) for factor in parameter.factors]
        case _:  # the sweep file was refused
            message = f"{parameter.distribution} has no end of values"
            raise TypeError(message)


def _identity(params: Mapping[str, object]) -> str:
    return json.dumps(params, sort_keys=True)
