"""Searches by Optuna's samplers: random, TPE, Gaussian process, CMA-ES and quasi-Monte Carlo.

Optuna is the brain, not the memory: for each proposal an in-memory study is rebuilt from the configurations seen, with
a sampler whose seed is derived from the sweep's and the proposal's number. So a resumed sweep proposes what an
uninterrupted one would have. What a sampler keeps in its study beyond parameters and values goes through the record as
the attributes of a configuration.

Running configurations are told as running, and each sampler has its own way with them: TPE takes them for bad ones (the
constant liar), the Gaussian process integrates over what they may become, the others do not look at them.

Pruned configurations are told as pruned, with the objective's value where they were stopped and no other metric. TPE
ranks them behind all that are complete, by how far they came and then by value; CMA-ES takes that value for theirs. The
Gaussian process has no such notion: it would leave them aside and propose again where trials were stopped. So it alone
is told the value where a configuration was stopped as that of a complete one.

What a proposal costs is bounded: random search and QMC are told only what they look at, and of the others' history so
many configurations are kept as `MOST` says (`kept`).
"""

from __future__ import annotations

import heapq
import math
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from sweeper.config import Choice, Constant, Distribution, Goal, Method, Parameter, Range, SweepSpec, applies, in_order
from sweeper.search.proposal import Configuration

_OF_TRIAL = "cma:"
"""Where CMA-ES keeps its state, in attributes of trials.

All other attributes are the study's: QMC's place in the sequence, the name of which depends on Optuna's version.
"""


MOST: Mapping[Method, int] = {Method.BAYES: 1_000, Method.TPE: 1_000, Method.CMAES: 1_000, Method.GP: 250}
"""How many configurations a sampler is told of at most: TPE takes 0.1 s for 10,000, the Gaussian process grows with the
cube of their number."""


def kept(seen: Sequence[Configuration], most: int, *, maximize: bool) -> Sequence[Configuration]:
    """Those that a sampler is told of, at most `most`, in their order: a quarter the best, a quarter those that run.

    The rest are the newest of the others. CMA-ES finds its state and the generation at hand among these.
    """
    if len(seen) <= most:
        return seen
    running = [one for one in seen if one.state in _RUN]
    ended = [one for one in seen if one.state not in _RUN]
    valued = (one for one in ended if one.value is not None and math.isfinite(one.value))
    best = heapq.nsmallest(most // 4, valued, key=lambda one: (-one.value if maximize else one.value) or 0.0)  # type: ignore[operator]  # those with values
    chosen = {one.number for one in [*best, *running[-(most // 4) :]]}
    others = [one.number for one in ended if one.number not in chosen]
    chosen |= set(others[len(others) - min(len(others), most - len(chosen)) :])
    return [one for one in seen if one.number in chosen]


class OptunaSearch:
    """Proposes by an Optuna sampler."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._names = in_order(spec.parameters)
        self._varied = {name: _distribution(p) for name, p in spec.parameters.items() if not isinstance(p, Constant)}
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @property
    def eager(self) -> bool:
        """Each proposal may depend on the values so far."""
        return False

    def propose(self, seen: Sequence[Configuration]) -> Configuration:
        """The next configuration; there always is one."""
        with warnings.catch_warnings():
            # Samplers that Optuna calls experimental for years; that they do what is promised is held by our tests.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = self._sampler(len(seen))
        storage = optuna.storages.InMemoryStorage()
        study = optuna.create_study(
            storage=storage,
            study_name=self._spec.name,
            sampler=sampler,
            direction="maximize" if self._spec.metric.goal is Goal.MAXIMIZE else "minimize",
        )
        study.add_trials(self._told(seen))
        study_id = storage.get_study_id_from_name(self._spec.name)
        places = {k: v for one in seen for k, v in one.attributes.items() if not k.startswith(_OF_TRIAL)}
        for key, value in places.items():  # the last one's place in the sequence stands
            storage.set_study_system_attr(study_id, key, value)
        trial = study.ask()
        params: dict[str, object] = {}
        for name in self._names:
            if applies(self._spec.parameters[name], params):
                params[name] = self._suggested(trial, name)
        attached = study.get_trials(deepcopy=False)[trial.number].system_attrs
        return Configuration(
            number=len(seen),
            params=params,
            attributes=_of_trial(attached) | storage.get_study_system_attrs(study_id),
        )

    def proposals(self, seen: Sequence[Configuration]) -> Iterator[Configuration]:
        """The next ones, without an end."""
        all_of_them = list(seen)
        while True:
            all_of_them.append(self.propose(all_of_them))
            yield all_of_them[-1]

    def _told(self, seen: Sequence[Configuration]) -> list[FrozenTrial]:
        """What the sampler looks at of what was seen."""
        match self._spec.method:
            case Method.RANDOM:
                return []
            case Method.QMC:  # the space of the first that is complete; before that, of those that run
                states = ((known, known.state) for known in map(self._known, seen))
                running = []
                for known, state in states:
                    if state is TrialState.COMPLETE:
                        return [known]
                    if state is TrialState.RUNNING:
                        running.append(known)
                return running
        maximize = self._spec.metric.goal is Goal.MAXIMIZE
        return [self._known(one) for one in kept(seen, MOST[self._spec.method], maximize=maximize)]

    def _sampler(self, proposal: int) -> BaseSampler:
        seed = zlib.crc32(f"{self._spec.name}:{proposal}".encode())
        match self._spec.method:
            case Method.RANDOM:
                return RandomSampler(seed=seed)
            case Method.GP:
                return GPSampler(seed=seed, warn_independent_sampling=False)
            case Method.CMAES:
                return CmaEsSampler(seed=seed, warn_independent_sampling=False, consider_pruned_trials=True)
            case Method.QMC:
                # One sequence for the whole sweep; what it leaves to chance is drawn anew for each proposal.
                sequence = zlib.crc32(self._spec.name.encode())
                rest = RandomSampler(seed=seed)
                return QMCSampler(
                    seed=sequence, scramble=True, independent_sampler=rest, warn_independent_sampling=False
                )
        return TPESampler(seed=seed, constant_liar=True, multivariate=False)

    def _known(self, configuration: Configuration) -> FrozenTrial:
        value = configuration.value
        if value is not None and not math.isfinite(value):
            value = None
        pruned = configuration.state == "PRUNED" and self._spec.method in _KNOW_PRUNED
        if value is None or pruned:
            state = TrialState.PRUNED if pruned else _WITHOUT_VALUE[configuration.state]
        else:
            state = TrialState.COMPLETE
        params = {
            name: self._internal(name, configuration.params[name])
            for name in self._varied
            if name in configuration.params
        }
        if None in params.values():  # a person added it from outside the space, in which samplers think
            return create_trial(state=TrialState.FAIL)
        return create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            intermediate_values={configuration.step or 0: value} if pruned and value is not None else None,
            params=params,
            distributions={name: self._varied[name] for name in params},
            system_attrs=_of_trial(configuration.attributes),
        )

    def _suggested(self, trial: Trial, name: str) -> object:
        """The sampler's value for a parameter."""
        match self._spec.parameters[name], self._varied.get(name):
            case Constant(value=value), _:
                return value
            case Choice(values=values), CategoricalDistribution(choices=positions):
                return values[int(str(trial.suggest_categorical(name, positions)))]
            case Range() as parameter, IntDistribution(low=low, high=high, log=log):
                return parameter.multiple(trial.suggest_int(name, low, high, log=log))
            case Range(), FloatDistribution(low=least, high=most, log=log):
                return trial.suggest_float(name, least, most, log=log)
        raise AssertionError(name)

    def _internal(self, name: str, value: Any) -> object:  # noqa: ANN401 - what the record holds
        """What stands for the value in the study; None where the parameter cannot take it."""
        match self._spec.parameters[name]:
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


_RUN = ("RUNNING", "WAITING")
_KNOW_PRUNED = (Method.BAYES, Method.TPE, Method.CMAES)
_WITHOUT_VALUE: Mapping[str, TrialState] = {
    "RUNNING": TrialState.RUNNING,
    "WAITING": TrialState.RUNNING,
    "PRUNED": TrialState.FAIL,
    "COMPLETE": TrialState.FAIL,
    "FAIL": TrialState.FAIL,
}
"""What a configuration without a value is to a sampler; one that has failed is passed over."""


def _of_trial(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key.startswith(_OF_TRIAL)}


def _equal(known: object, value: object) -> bool:
    return known == (tuple(value) if isinstance(value, list) else value) and isinstance(known, bool) == isinstance(
        value, bool
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case Range(distribution=Distribution.UNIFORM | Distribution.LOG_UNIFORM):
            return FloatDistribution(float(parameter.min), float(parameter.max), log=parameter.distribution.log)
        case Range():
            # By factor, so that multiples of q are whole numbers to Optuna, and lie in the range whatever min is.
            factors = parameter.factors
            return IntDistribution(factors[0], factors[-1], log=parameter.distribution.log)
        case Choice():
            # By position: Optuna takes scalars only, a value may be a list.
            return CategoricalDistribution([str(i) for i in range(len(parameter.values))])
    message = "a constant is not proposed"
    raise TypeError(message)
