"""Population-based training: members train in turns, and the worst continue from checkpoints of the best.

Jaderberg et al., "Population Based Training of Neural Networks", 2017 (arXiv:1711.09846): exploitation by truncation,
exploration by a factor or by drawing anew. A turn of a member is a trial that is derived from a trial of the turn
before. The next turn begins once all members have ended the one before, so what is proposed depends on nothing but the
results, and a sweep resumes exactly.
"""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sweeper.config import Choice, Constant, Method, Parameter, Range, SweepSpec, applies, in_dependency_order, taken
from sweeper.config.model.population import DEFAULT_SIZE, Population
from sweeper.record.derivation import POPULATION, Derivation
from sweeper.search.proposal import Configuration, Search


class PopulationSearch:
    """Proposes the turns of a population. The members of the first turn are drawn by another search.

    The number of a configuration tells its turn and its member: ``turn * size + member``.

    Args:
        spec: the sweep.
        first: draws the members of the first turn.
        anew: draws single parameters anew, from their numbers alone and without conditions.
    """

    def __init__(self, spec: SweepSpec, first: Search, anew: Search) -> None:
        if spec.population is None or spec.method is not Method.PBT:
            message = "a population is needed, and method: pbt"
            raise TypeError(message)
        self._spec = spec
        self._first = first
        self._anew = anew
        self._settings: Population = spec.population
        self.size = spec.population_size or DEFAULT_SIZE

    @property
    def eager(self) -> bool:
        """False: a turn depends on the results of the one before."""
        return False

    @property
    def notes(self) -> Sequence[str]:
        """What the search of the first turn has to say."""
        return self._first.notes

    def is_over(self, seen: Sequence[Configuration]) -> bool:
        """Return whether all turns were proposed."""
        return len(seen) >= self.size * self._settings.turns

    def propose(self, seen: Sequence[Configuration]) -> Configuration | None:
        """Return the next configuration; None while a turn has not ended, and after the last."""
        return next(self.proposals(seen), None)

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """Yield the configurations of the current turn that were not proposed yet."""
        turn = len(seen) // self.size
        if turn == 0:
            for one in self._first.proposals(seen):
                if one.number >= self.size:
                    return
                yield replace(one, until=self._settings.every_steps)
        before = seen[(turn - 1) * self.size : turn * self.size] if 0 < turn < self._settings.turns else ()
        if before and all(one.ended for one in before):
            for member in range(len(seen) % self.size, self.size):
                yield self._next(turn, member, before)

    def _next(self, turn: int, member: int, before: Sequence[Configuration]) -> Configuration:
        """Return the next turn of a member: it continues itself, or explores from one of the best."""
        number = turn * self.size + member
        draw = random.Random(zlib.crc32(f"{self._spec.name}:{number}".encode()))  # noqa: S311 - a search, no secret
        best, replaced = self._ranked(before)
        own = before[member]
        parent, params, reason = own, own.params, ""
        if member in replaced and best:
            parent = before[draw.choice(best)]
            params = self._explored(parent.params, draw, number)
            why = f"it {own.why}" if own.why.startswith("stopped") else own.why or "it was among the worst"
            reason = f"member {member} is replaced in turn {turn + 1}: {why}"
        changes = {name: value for name, value in params.items() if value != parent.params.get(name)}
        derived = Derivation(parent=parent.number, changes=changes, by=POPULATION, reason=reason)
        return Configuration(
            number=number, params=params, derived=derived, until=(turn + 1) * self._settings.every_steps
        )

    def _ranked(self, before: Sequence[Configuration]) -> tuple[list[int], frozenset[int]]:
        """Return the members to continue from, and those to replace: first those that failed, then the worst."""
        maximize = self._spec.goals[0].maximize
        values = [one.value if one.failed == 0 and one.state == "COMPLETE" else None for one in before]
        keys = [-math.inf if v is None or not math.isfinite(v) else v if maximize else -v for v in values]
        order = sorted(range(len(before)), key=lambda member: (keys[member], -member))
        count = max(1, int(self._settings.replaced * len(before)))
        failed = [member for member in order if keys[member] == -math.inf]
        replaced = order[: max(count, len(failed))]
        best = [member for member in reversed(order) if member not in replaced][:count]
        return best, frozenset(replaced)

    def _explored(self, params: Mapping[str, object], draw: random.Random, number: int) -> dict[str, object]:
        """Return the parameters of a member of the best with each varied one changed a little, or drawn anew."""
        fresh = self._drawn(number)
        found: dict[str, object] = {}
        for name in in_dependency_order(self._spec.parameters):
            parameter = self._spec.parameters[name]
            if not applies(parameter, found):
                continue
            if isinstance(parameter, Constant):
                found[name] = parameter.value
            elif draw.random() < self._settings.resample or name not in params:
                found[name] = fresh[name]
            else:
                found[name] = _perturbed(parameter, params[name], self._settings.factor, draw)
        return found

    def _drawn(self, number: int) -> Mapping[str, object]:
        """Return a value of every parameter, drawn for this number."""
        seen = [Configuration(number=earlier, params={}) for earlier in range(number)]
        proposed = self._anew.propose(seen)
        return {} if proposed is None else proposed.params


def _perturbed(parameter: Parameter, value: object, factor: float, draw: random.Random) -> object:
    """Return a value near another one: a number times or divided by `factor`, or a neighbour in a list of numbers."""
    up = draw.random() < 0.5  # noqa: PLR2004 - as often as down
    if isinstance(parameter, Choice):
        return _neighbour(parameter, value, up=up, draw=draw)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    new = value * factor if up else value / factor
    if isinstance(parameter, Range):
        if parameter.distribution.quantized or isinstance(value, int):
            old, wanted = parameter.factor_of(value) or 0, round(new / parameter.quantum)
            wanted = wanted if wanted != old else old + (1 if up else -1)
            return parameter.multiple(min(max(wanted, parameter.factors[0]), parameter.factors[-1]))
        return min(max(new, float(parameter.min)), float(parameter.max))
    try:
        return taken(parameter, new)
    except ValueError:
        return value


def _neighbour(parameter: Choice, value: object, *, up: bool, draw: random.Random) -> object:
    numbers = [one for one in parameter.values if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < len(parameter.values) or value not in numbers:
        return draw.choice(parameter.values)
    ordered = sorted(numbers)
    at = ordered.index(value) + (1 if up else -1)
    return ordered[min(max(at, 0), len(ordered) - 1)]
