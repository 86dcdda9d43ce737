"""Search with Optuna's samplers: random, TPE, Gaussian process, CMA-ES, quasi-Monte Carlo (QMC), NSGA-II and NSGA-III.

Optuna proposes, but it stores nothing. For each proposal an in-memory study is built from the configurations so far,
with a sampler that is seeded by the sweep's name and the number of the proposal. So a resumed sweep proposes what
an uninterrupted one would have. State that a sampler keeps in its study beyond parameters and values is recorded as the
attributes of a configuration, as plain JSON: that of CMA-ES is described in `cma_es`, and QMC has a position in its
sequence, under a name that depends on Optuna's version.

*Running configurations* are added as running. TPE treats them as bad ones (the constant liar), the Gaussian process
integrates over their possible values, the other samplers ignore them.

*Pruned configurations* are added as pruned, with the value of the metric where they were stopped. TPE ranks them after
all complete ones, by step and then by value; CMA-ES uses that value as theirs. The Gaussian process does not support
pruned trials: it would ignore them and propose again where trials were stopped. So for it alone they are added as
complete ones with that value.

*Configurations that failed because of their parameters* count with the worst value so far (`imputation`). TPE ranks
them behind all pruned ones, which it does with pruned trials that have no value. By default it takes a tenth of all
trials as good ones and stays away from the others, whether they learned or failed. So once trials have failed, it takes
as many more as good ones. It and the Gaussian process then also begin to learn earlier.

*Configurations of other runs* (`learn_from`) come before those of this run, and have negative numbers. CMA-ES learns
from its own generations only, so for it they set where the first one begins (`warm_start`).

*Several objectives.* Optuna has no pruned trials then, so those are added as complete ones with their values, and so
are those that failed. *Constraints* are added as the violation of each bound.

*NSGA-II and NSGA-III* record the generation of each configuration, and in the study the parents of each generation, as
the numbers of configurations. A configuration that a user added belongs to the generation of the one before it.

The cost of a proposal is bounded: random search and QMC get only what they use, and TPE, CMA-ES and the Gaussian
process at most `MAX_HISTORY` configurations (`limit_history`). The genetic algorithms read two generations only.
"""

from __future__ import annotations

import heapq
import math
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweeper.config import (
    LEARNING,
    Beta,
    Choice,
    Constant,
    Distribution,
    Method,
    Normal,
    Parameter,
    Range,
    SweepSpec,
    applies,
    identity,
    in_dependency_order,
)
from sweeper.record.objectives import Objective
from sweeper.record.pareto import ranks
from sweeper.record.values.extremes import tamed
from sweeper.search.cma_es import TOLD, Memory, ReplayedCmaEs, generations_of
from sweeper.search.imputation import imputed, worst_of
from sweeper.search.known import Start, settings_of
from sweeper.search.proposal import Configuration
from sweeper.search.quantiles import LEAST, MOST, quantile_of, value_at
from sweeper.search.warm_start import warm_start

REBUILT = (
    "The state of CMA-ES in search.jsonl is damaged or of an earlier version: "
    "it was rebuilt from the recorded values, so that proposals may differ from those of an uninterrupted sweep"
)
MOST_POSITIONS = 1 << 20
"""Positions of QMC from here on are not taken from a record: moving there would take long."""
_GENERATION, _PARENTS = ":generation", ":parent:"
"""Parts of the attributes of NSGA: of a trial, its generation; of the study, the parents of each generation."""

_CONSTRAINTS = "constraints"
"""The attribute of a trial in which every version of Optuna reads the violations of constraints."""


MAX_HISTORY: Mapping[Method, int] = {Method.BAYES: 1_000, Method.TPE: 1_000, Method.CMAES: 1_000, Method.GP: 250}
"""The maximum number of configurations that a sampler gets.

TPE takes 0.1 s for 10,000; the time of the Gaussian process grows with the cube of their number.
"""


MOST_TURNS = 10
"""How often NSGA is asked for a configuration that the sweep does not have."""

STARTUP, STARTUP_AFTER_FAILURE = 10, 5
"""The number of trials that are drawn at random before TPE and the Gaussian process learn; the first is Optuna's."""


def count_good(count: int, *, failed: int) -> int:
    """Return how many of `count` trials TPE takes as good ones if some failed because of their parameters.

    Optuna takes a tenth, and 25 at most. Here it takes as many more as have failed, but none that has failed.
    """
    return max(1, min(math.ceil(count / 10) + failed, 25, count - failed))


def limit_history(seen: Sequence[Configuration], limit: int, goals: Sequence[Objective]) -> Sequence[Configuration]:
    """Return at most `limit` of the configurations, in their order.

    A quarter are the best, up to a quarter the newest that run, and the rest the newest of the others. That is where
    CMA-ES finds its state and its current generation.

    Args:
        seen: All configurations so far.
        limit: The maximum number.
        goals: The objectives. With several, the best are those with the lowest non-domination rank.
    """
    if len(seen) <= limit:
        return seen
    running = [configuration for configuration in seen if not configuration.ended]
    ended = [configuration for configuration in seen if configuration.ended]
    valued = [(c.number, [g.signed(v) for g, v in zip(goals, vs, strict=True)]) for c in ended if (vs := c.objectives)]
    keys = [signed[0] for _, signed in valued] if len(goals) == 1 else ranks([signed for _, signed in valued])
    ranked = [(key, number) for key, (number, _) in zip(keys, valued, strict=True)]
    best = heapq.nsmallest(limit // 4, ranked, key=lambda pair: pair[0])
    chosen = {number for _, number in best} | {c.number for c in running[-(limit // 4) :]}
    others = [c.number for c in ended if c.number not in chosen]
    chosen |= set(others[len(others) - min(len(others), limit - len(chosen)) :])
    return [configuration for configuration in seen if configuration.number in chosen]


class OptunaSearch:
    """Proposes configurations with a sampler of Optuna."""

    def __init__(self, spec: SweepSpec, learned: Sequence[Configuration] = ()) -> None:
        self._spec = spec
        self._learned = learned
        self._start = Start(spec.parameters, settings_of(spec))
        self._names = in_dependency_order(spec.parameters)
        self._varied = {name: _distribution(p) for name, p in spec.parameters.items() if not isinstance(p, Constant)}
        self._notes: dict[str, None] = {}
        self._memory = Memory()
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about the state of the search."""
        return tuple(self._notes)

    @property
    def eager(self) -> bool:
        """False: each proposal may depend on the results so far."""
        return False

    def is_over(self, seen: Sequence[Configuration]) -> bool:  # noqa: ARG002 - as `Search` has it
        """Return True: no proposal waits for a result."""
        return True

    def propose(self, seen: Sequence[Configuration]) -> Configuration:
        """Return the next configuration; there is always one.

        NSGA's children are often equal to a parent, and would be trained again for nothing. So NSGA is asked again with
        another seed, up to `MOST_TURNS` times.
        """
        proposed = self._proposed(seen, 0)
        if self._spec.method in _GENETIC:
            there, turn = {identity(one.params) for one in seen}, 1
            while identity(proposed.params) in there and turn < MOST_TURNS:
                proposed, turn = self._proposed(seen, turn), turn + 1
        return proposed

    def _proposed(self, seen: Sequence[Configuration], turn: int) -> Configuration:
        storage = optuna.storages.InMemoryStorage()
        told = self._told(seen)
        with warnings.catch_warnings():
            # Optuna calls some samplers experimental, and TPE's gamma deprecated; our tests cover their behaviour.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", FutureWarning)
            sampler = self._sampler(seen, told, turn)
        study, study_id = self._study(seen, told, sampler, storage)
        before = dict(storage.get_study_system_attrs(study_id))
        trial = study.ask()
        known = self._start.next(seen)
        params: dict[str, object] = {}
        for name in self._names:
            if applies(self._spec.parameters[name], params):
                drawn = self._suggest(trial, name)
                params[name] = drawn if known is None else known.value(name, drawn)
        attached = study.get_trials(deepcopy=False)[trial.number].system_attrs
        after = storage.get_study_system_attrs(study_id)
        is_drawn = known is None or any(name in params and name not in known.setting for name in self._varied)
        return Configuration(
            number=len(seen),
            params=params,
            # Of the study, what is new: it keeps the parents of all generations. QMC moves on in its sequence only if
            # a value of it was used.
            attributes=_recorded(sampler, attached, told)
            | ({k: v for k, v in after.items() if k not in before or before[k] != v} if is_drawn else {}),
            start=None if known is None else known.setting,
        )

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """Yield the next configurations, without an end."""
        history = list(seen)
        while True:
            history.append(self.propose(history))
            yield history[-1]

    def _study(
        self,
        seen: Sequence[Configuration],
        told: Sequence[Configuration],
        sampler: BaseSampler,
        storage: optuna.storages.InMemoryStorage,
    ) -> tuple[Study, int]:
        """Return a study of the configurations so far, and its id in the storage."""
        study = optuna.create_study(
            storage=storage,
            study_name=self._spec.name,
            sampler=sampler,
            directions=["maximize" if goal.maximize else "minimize" for goal in self._spec.goals],
        )
        study.add_trials([self._as_trial(one) for one in told])
        study_id = storage.get_study_id_from_name(self._spec.name)
        # The attributes of the study are those of the last configuration that has them.
        attributes = {k: v for one in seen for k, v in one.attributes.items() if _is_of_study(k, v)}
        for key, value in attributes.items():
            storage.set_study_system_attr(study_id, key, value)
        return study, study_id

    def _told(self, seen: Sequence[Configuration]) -> Sequence[Configuration]:
        """Return the configurations that the sampler uses, with the values that they count with."""
        match self._spec.method:
            case Method.RANDOM:
                return []
            case Method.QMC:  # it uses the search space of the first complete trial, or else of running ones
                running = []
                for one in seen:
                    # A failed trial shows the search space as well as any other; its value is not used.
                    zeros = (0.0,) * len(self._spec.objectives)
                    shown = replace(one, value=0.0, values=zeros) if one.failed == 1 else one
                    state = self._as_trial(shown).state
                    if state is TrialState.COMPLETE:
                        return [shown]
                    if state is TrialState.RUNNING:
                        running.append(shown)
                return running
        everything = [*self._learned, *seen]
        worst = worst_of(everything, self._spec.goals)
        told = [imputed(one, worst) for one in everything]
        if self._spec.method in _GENETIC:
            return _with_generations(told)
        return limit_history(told, MAX_HISTORY[self._spec.method], self._spec.goals)

    def _sampler(self, seen: Sequence[Configuration], told: Sequence[Configuration], turn: int) -> BaseSampler:
        seed = zlib.crc32(f"{self._spec.name}:{len(seen)}{f':{turn}' if turn else ''}".encode())
        failed = sum(one.failed == 1 for one in told)
        startup = STARTUP_AFTER_FAILURE if failed else STARTUP
        given: dict[str, Any] = {"constraints_func": _violations} if self._spec.constraints else {}
        match self._spec.method:
            case Method.RANDOM:
                return RandomSampler(seed=seed)
            case Method.GP:
                return GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False, **given)
            case Method.NSGA2 | Method.NSGA3 as method:
                sampler = NSGAIISampler if method is Method.NSGA2 else NSGAIIISampler
                if self._spec.population_size is not None:
                    given["population_size"] = self._spec.population_size
                return sampler(seed=seed, **given)
            case Method.CMAES:
                worst = worst_of([*self._learned, *seen], self._spec.goals)
                generations = generations_of([imputed(one, worst) for one in seen], self._as_trial)
                if generations.guessed:
                    self._notes[REBUILT] = None
                by_number = {one.number: one for one in seen}
                return ReplayedCmaEs(
                    generations,
                    lambda number: self._as_trial(by_number[number]).params,
                    self._memory,
                    seed=seed,
                    source=warm_start([one for one in told if one.number < 0], self._as_trial),
                )
            case Method.QMC:
                # The whole sweep uses one sequence. Parameters outside of it are drawn independently for each proposal.
                sequence = zlib.crc32(self._spec.name.encode())
                rest = RandomSampler(seed=seed)
                return QMCSampler(
                    seed=sequence, scramble=True, independent_sampler=rest, warn_independent_sampling=False
                )
        # Without failures, this is Optuna's own number; 4.6 does not accept None.
        given["gamma"] = partial(count_good, failed=failed)
        return TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True, multivariate=False, **given)

    def _as_trial(self, configuration: Configuration) -> FrozenTrial:
        found = configuration.objectives
        values = None if found is None else tuple(map(tamed, found))
        state, intermediate = self._state(configuration, None if values is None else values[0])
        bounds: dict[str, Any] = {}
        if self._spec.constraints and self._spec.method in LEARNING and state is not TrialState.RUNNING:
            violations = configuration.violations
            if configuration.state == "PRUNED":  # its value counts; a bound of a metric without one is kept
                violations = tuple(v if math.isfinite(v) else 0.0 for v in violations)
            if state is TrialState.COMPLETE and not (violations and all(map(math.isfinite, violations))):
                state = TrialState.FAIL  # a metric with bounds has no value, and none in any trial so far
            bounds = {_CONSTRAINTS: list(violations)} if violations else {_CONSTRAINTS: [0.0]}
        params = {
            name: self._encoded(name, configuration.params[name])
            for name in self._varied
            if name in configuration.params
        }
        if None in params.values():  # a user added a value outside of the search space, which samplers do not support
            return create_trial(state=TrialState.FAIL)
        return create_trial(
            state=state,
            values=values if state is TrialState.COMPLETE else None,
            intermediate_values=intermediate,
            params=params,
            distributions={name: self._varied[name] for name in params},
            system_attrs={k: v for k, v in configuration.attributes.items() if _is_of_trial(k)} | bounds,
        )

    def _state(self, configuration: Configuration, value: float | None) -> tuple[TrialState, dict[int, float]]:
        """Return the state of a configuration in the study, and its intermediate values: the last one if pruned."""
        if configuration.failed == 1:
            if value is None:  # no trial has a finite value yet
                return TrialState.FAIL, {}
            ranked_last = self._spec.method in _RANK_PRUNED_LAST and not self._spec.objectives
            return TrialState.PRUNED if ranked_last else TrialState.COMPLETE, {}
        if configuration.state == "PRUNED" and self._spec.method in _SUPPORT_PRUNED and not self._spec.objectives:
            return TrialState.PRUNED, {} if value is None else {configuration.step or 0: value}
        return _WITHOUT_VALUE[configuration.state] if value is None else TrialState.COMPLETE, {}

    def _suggest(self, trial: Trial, name: str) -> object:
        """Return the sampler's value for a parameter."""
        match self._spec.parameters[name], self._varied.get(name):
            case Constant(value=value), _:
                return value
            case (Normal() | Beta() | Choice()) as parameter, FloatDistribution(low=least, high=most):
                return value_at(parameter, trial.suggest_float(name, least, most))
            case Choice(values=values), CategoricalDistribution(choices=positions):
                return values[int(str(trial.suggest_categorical(name, positions)))]
            case Range() as parameter, IntDistribution(low=low, high=high, log=log):
                return parameter.multiple(trial.suggest_int(name, low, high, log=log))
            case Range(), FloatDistribution(low=least, high=most, log=log):
                return trial.suggest_float(name, least, most, log=log)
        raise AssertionError(name)

    def _encoded(self, name: str, value: Any) -> object:  # noqa: ANN401 - what the record holds
        """Return what represents a value in the study; None if the parameter cannot take the value."""
        match self._spec.parameters[name]:
            case (Normal() | Beta() | Choice()) as parameter if isinstance(self._varied[name], FloatDistribution):
                return quantile_of(parameter, value)
            case Choice(values=values):
                return next((str(i) for i, known in enumerate(values) if _equal(known, value)), None)
            case Range(min=least, max=most) as parameter:
                if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                    return None
                if parameter.distribution in {Distribution.UNIFORM, Distribution.LOG_UNIFORM}:
                    return value
                factor = round(value / parameter.quantum)
                return factor if parameter.multiple(factor) == value else None
        return value


_GENETIC = (Method.NSGA2, Method.NSGA3)
_RANK_PRUNED_LAST = (Method.BAYES, Method.TPE)
_SUPPORT_PRUNED = (Method.BAYES, Method.TPE, Method.CMAES)
_WITHOUT_VALUE: Mapping[str, TrialState] = {
    "RUNNING": TrialState.RUNNING,
    "WAITING": TrialState.RUNNING,
    "PRUNED": TrialState.FAIL,
    "COMPLETE": TrialState.FAIL,
    "FAIL": TrialState.FAIL,
}
"""The state in the study of a configuration without a value. Samplers ignore those that failed."""


def _recorded(sampler: BaseSampler, attributes: Mapping[str, Any], told: Sequence[Configuration]) -> dict[str, Any]:
    """Return the attributes of a trial that a later proposal needs, as JSON can hold them."""
    kept = {key: value for key, value in attributes.items() if _is_of_trial(key)}
    if not isinstance(sampler, ReplayedCmaEs):
        return kept
    solutions = [[told[trial.number].number, trial.value] for trial in sampler.told(attributes)]
    return kept | ({TOLD: solutions} if solutions else {})


def _is_of_trial(key: str) -> bool:
    return key.endswith(_GENERATION)


def _is_of_study(key: str, value: object) -> bool:
    """Return whether an attribute is the position of QMC, or the parents of a generation of NSGA."""
    if type(value) is int:
        return not _is_of_trial(key) and 0 <= value < MOST_POSITIONS
    return _PARENTS in key and isinstance(value, list | tuple) and all(type(one) is int for one in value)


def _violations(trial: FrozenTrial) -> Sequence[float]:
    found: Sequence[float] = trial.system_attrs[_CONSTRAINTS]
    return found


def _with_generations(told: Sequence[Configuration]) -> list[Configuration]:
    """Return the configurations with a generation each: those that a user added belong to that of the one before."""
    found: list[Configuration] = []
    newest: dict[str, Any] = {}
    for one in told:
        own = {key: value for key, value in one.attributes.items() if key.endswith(_GENERATION)}
        found.append(one if own else replace(one, attributes={**one.attributes, **newest}))
        newest = own or newest
    return found


def _equal(known: object, value: object) -> bool:
    return identity(known) == identity(value)


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case Range(distribution=Distribution.UNIFORM | Distribution.LOG_UNIFORM):
            return FloatDistribution(float(parameter.min), float(parameter.max), log=parameter.distribution.log)
        case Range():
            # The study holds the factor of q: an integer, so that multiples of q are in the range whatever min is.
            factors = parameter.factors
            return IntDistribution(factors[0], factors[-1], log=parameter.distribution.log)
        case Normal() | Beta() | Choice(probabilities=(_, *_)):
            return FloatDistribution(LEAST, MOST)  # the study holds the quantile
        case Choice():
            # The study holds the position of the value: Optuna accepts scalars only, and a value may be a list.
            return CategoricalDistribution([str(i) for i in range(len(parameter.values))])
    message = "a constant has no distribution"
    raise TypeError(message)
