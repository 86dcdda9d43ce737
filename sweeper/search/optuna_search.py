"""Random search and Bayesian search (TPE), proposed by Optuna.

Optuna is the brain, not the memory: for each proposal an in-memory study is rebuilt from the configurations seen, with
a sampler whose seed is derived from the sweep's and the proposal's number. So a resumed sweep proposes what an
uninterrupted one would have.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.search.proposal import Configuration
from sweeper.spec import Choice, Constant, Distribution, Goal, Method, Parameter, Range, SweepSpec


class OptunaSearch:
    """Proposes by an Optuna sampler."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self._varied = {name: _distribution(p) for name, p in spec.parameters.items() if not isinstance(p, Constant)}
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    @property
    def eager(self) -> bool:
        """Each proposal may depend on the values so far."""
        return False

    def propose(self, seen: Sequence[Configuration]) -> Mapping[str, object]:
        """The next configuration; there always is one."""
        study = optuna.create_study(
            study_name=self._spec.name,
            sampler=self._sampler(len(seen)),
            direction="maximize" if self._spec.metric.goal is Goal.MAXIMIZE else "minimize",
        )
        study.add_trials([self._known(configuration) for configuration in seen])
        trial = study.ask(self._varied)
        return {name: self._value(name, trial.params) for name in self._spec.parameters}

    def _sampler(self, proposal: int) -> optuna.samplers.BaseSampler:
        seed = zlib.crc32(f"{self._spec.name}:{proposal}".encode())
        if self._spec.method is Method.RANDOM:
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=False)

    def _known(self, configuration: Configuration) -> FrozenTrial:
        value = configuration.value
        told = value is not None and math.isfinite(value)
        return create_trial(
            state=TrialState.COMPLETE if told else _STATES[configuration.state],
            value=value if told else None,
            params={name: self._internal(name, configuration.params[name]) for name in self._varied},
            distributions=self._varied,
        )

    def _value(self, name: str, proposed: Mapping[str, object]) -> object:
        match self._spec.parameters[name]:
            case Constant(value=value):
                return value
            case Choice(values=values):
                return values[int(str(proposed[name]))]
        return proposed[name]

    def _internal(self, name: str, value: object) -> object:
        parameter = self._spec.parameters[name]
        if not isinstance(parameter, Choice):
            return value
        return next(str(i) for i, known in enumerate(parameter.values) if _equal(known, value))


_STATES: Mapping[str, TrialState] = {
    "RUNNING": TrialState.RUNNING,
    "WAITING": TrialState.RUNNING,
    "PRUNED": TrialState.FAIL,  # pruned without any value: nothing to learn from
    "COMPLETE": TrialState.FAIL,
    "FAIL": TrialState.FAIL,
}


def _equal(known: object, value: object) -> bool:
    return known == (tuple(value) if isinstance(value, list) else value) and isinstance(known, bool) == isinstance(
        value, bool
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case Range(distribution=Distribution.INT_UNIFORM):
            return IntDistribution(int(parameter.min), int(parameter.max))
        case Range():
            log = parameter.distribution is Distribution.LOG_UNIFORM
            return FloatDistribution(float(parameter.min), float(parameter.max), log=log)
        case Choice():
            # By position: Optuna takes scalars only, a value may be a list.
            return CategoricalDistribution([str(i) for i in range(len(parameter.values))])
    message = "a constant is not proposed"
    raise TypeError(message)
