"""CMA-ES without a pickle: its state is rebuilt from the generations that it was told.

Optuna pickles the optimizer of CMA-ES into an attribute of a trial. A pickle is a program, and a record may come from
anyone, so none is written and none is read. The state follows from what the optimizer was told: for each generation,
which configurations in which order, with which values. That is recorded when it happens, as plain JSON, in the
attributes of the configuration that was proposed then:

    {"cma:generation": 4, "cma:told": [[18, 0.41], [19, 0.38], [20, "..."]]}

The replay is exact: the optimizer is seeded anew for each proposal, and the rest of its state has no other source. If
the generations are missing or damaged, as in records of earlier versions, those values take their place that the
configurations of a generation have now.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.search.proposal import Configuration

GENERATION = "cma:generation"
TOLD = "cma:told"
PREFIX = "cma:"
"""The prefix of all attributes of CMA-ES; others under it are pickles of earlier versions, and are never read."""

Generation: TypeAlias = Sequence[tuple[int, float]]
"""The numbers of configurations, and the values that the optimizer was told, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """The generations that the optimizer was told, in order; `guessed` of them were not recorded, or not readably."""

    told: Sequence[Generation]
    guessed: int = 0


@dataclass(slots=True)
class Memory:
    """The optimizer after some generations in a search space, so that only later generations are replayed."""

    space: object = None
    told: Sequence[Generation] = ()
    optimizer: Any = None


class ReplayedCmaEs(CmaEsSampler):
    """Optuna's sampler, except that its optimizer is rebuilt instead of unpickled."""

    def __init__(
        self,
        generations: Generations,
        params_of: Callable[[int], Mapping[str, Any]],
        memory: Memory,
        *,
        seed: int,
        source: list[FrozenTrial] | None = None,
    ) -> None:
        """Prepare to propose.

        Args:
            generations: what the optimizer was told so far.
            params_of: returns the parameters of a configuration as in the study.
            memory: what earlier samplers of the same search have replayed.
            seed: the seed of the proposal.
            source: trials of other runs to begin from; None for none.
        """
        super().__init__(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True, source_trials=source)
        self._generations = generations.told
        self._params_of = params_of
        self._memory = memory
        self._solutions: Sequence[FrozenTrial] = ()
        self._population = 0

    def told(self, attributes: Mapping[str, Any]) -> list[FrozenTrial]:
        """Return what the optimizer was told when a trial was sampled; nothing if that was no new generation.

        Args:
            attributes: those of the trial. Optuna has stored the optimizer in them if, and only if, it was told.
        """
        has_state = any(key not in (GENERATION, TOLD) and key.startswith(PREFIX) for key in attributes)
        return list(self._solutions[: self._population]) if has_state else []

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:  # noqa: ANN401 - Optuna's own types
        """Return the optimizer as it is after the generations so far. Optuna finds no other state, so it calls this."""
        if not self._generations:  # Optuna draws the seed of a new optimizer only here, where it has none so far
            first = super()._init_optimizer(trans, direction)
            self._population = first.population_size
            return first
        memory, space = self._memory, (repr(trans._search_space), direction)  # noqa: SLF001 - it has no public name
        known = len(memory.told)
        if memory.space != space or self._generations[:known] != memory.told:
            state = self._cma_rng.rng.get_state()
            memory.optimizer, memory.space, memory.told = super()._init_optimizer(trans, direction), space, []
            self._cma_rng.rng.set_state(state)
        self._population, sign = memory.optimizer.population_size, 1 if direction == StudyDirection.MINIMIZE else -1
        names = trans._search_space.keys()  # noqa: SLF001 - as above
        for generation in self._generations[len(memory.told) :]:
            pairs = [(self._params_of(number), sign * value) for number, value in generation[: self._population]]
            solutions = [(trans.transform(dict(params)), value) for params, value in pairs if params.keys() >= names]
            if len(solutions) < self._population:
                break
            memory.optimizer.tell(solutions)
            # What Optuna would have stored and read again: of the covariance matrix, which is symmetric, only one half.
            memory.optimizer = copy.deepcopy(memory.optimizer)
            memory.told = [*memory.told, generation]
        return copy.deepcopy(memory.optimizer)

    def _get_solution_trials(self, trials: list[FrozenTrial], generation: int) -> list[FrozenTrial]:
        self._solutions = super()._get_solution_trials(trials, generation)
        return list(self._solutions)


def generations_of(seen: Sequence[Configuration], as_trial: Callable[[Configuration], FrozenTrial]) -> Generations:
    """Return the generations of a sweep so far.

    Args:
        seen: all configurations so far, with the values that they count with now.
        as_trial: returns a configuration as a trial of the study.
    """
    numbers = {one.number for one in seen}
    members: dict[int, list[Configuration]] = {}
    recorded: dict[int, Generation] = {}
    for one in seen:
        number = one.attributes.get(GENERATION)
        if type(number) is not int or not 0 <= number <= len(seen):
            continue
        members.setdefault(number, []).append(one)
        told = _told(one.attributes.get(TOLD))
        if told and all(configuration in numbers for configuration, _ in told):
            recorded.setdefault(number - 1, told)
    generations: list[Generation] = []
    for number in range(max(members, default=0)):
        if number not in recorded:
            trials = [(one.number, _value(as_trial(one))) for one in members.get(number, ())]
            generations.append([(configuration, value) for configuration, value in trials if value is not None])
        else:
            generations.append(recorded[number])
    return Generations(told=generations, guessed=len(generations) - len(recorded.keys() & range(len(generations))))


def _told(told: object) -> Generation:
    """Return what an attribute of the record says; nothing if it is damaged."""
    found = []
    for pair in told if isinstance(told, list | tuple) else ():
        match pair:
            case [int(number), float(value)] if math.isfinite(value):
                found.append((number, value))
            case _:
                return []
    return found


def _value(trial: FrozenTrial) -> float | None:
    """Return the value with which CMA-ES counts a trial: where it was pruned, the last one."""
    if trial.values is not None:
        return float(trial.values[0])
    return float(max(trial.intermediate_values.items())[1]) if trial.intermediate_values else None
