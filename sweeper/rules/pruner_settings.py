"""The settings of pruners, with Optuna's names. A pruner's steps are evaluations of the objective, from 1.

To add a pruner, write its settings here, list them in `PRUNERS`, and build it in `sweeper.search`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator, model_validator

from sweeper.mistakes import refused
from sweeper.rules.base import StopSettings

if TYPE_CHECKING:
    AnyRule = StopSettings

Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Factor = Annotated[int, Field(ge=2)]


class PrunerSettings(StopSettings):
    """The settings of a pruner, which compares the objective of trials at the same evaluation."""


class Median(PrunerSettings):
    """A trial's best value is worse than the median of the ended trials at the same evaluation."""

    name = "median"

    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: AtLeastOne = 1
    n_min_trials: AtLeastOne = 1


class Percentile(Median):
    """Like `Median`, but only the best ``percentile`` percent continue."""

    name = "percentile"

    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0


class SuccessiveHalving(PrunerSettings):
    """Asynchronous successive halving (ASHA): at each rung, the best one of ``reduction_factor`` trials continues.

    The rungs are the evaluations ``min_resource * reduction_factor ** n``, or those in ``rungs``, for which no other
    setting but ``reduction_factor`` applies.
    """

    name = "successive_halving"

    min_resource: AtLeastOne = 1
    reduction_factor: Factor = 4
    min_early_stopping_rate: Count = 0
    bootstrap_count: Count = 0
    rungs: Annotated[tuple[AtLeastOne, ...], Field(strict=False, min_length=1)] | None = None

    @field_validator("rungs")
    @classmethod
    def _rise(cls, rungs: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if rungs is not None and list(rungs) != sorted(set(rungs)):
            raise refused("evaluations in rising order")
        return rungs


class Hyperband(PrunerSettings):
    """Successive halving in several brackets; ``max_resource`` defaults to that of the first complete trial."""

    name = "hyperband"

    min_resource: AtLeastOne = 1
    max_resource: AtLeastOne | None = None
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0

    @model_validator(mode="after")
    def _has_a_bracket(self) -> Self:
        if self.max_resource is None:
            if self.bootstrap_count:
                raise refused("max_resource with bootstrap_count", got="none", hint="write max_resource: 10")
        elif self.min_resource > self.max_resource:
            got = f"min_resource: {self.min_resource} and max_resource: {self.max_resource}"
            raise refused("a max_resource that is not below min_resource", got=got)
        return self


class Patient(PrunerSettings):
    """The objective has not improved for ``patience`` evaluations; with ``wrapped``, that pruner has to agree."""

    name = "patient"

    patience: Count = 3
    min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    wrapped: AnyRule | None = None

    @field_validator("wrapped")
    @classmethod
    def _is_a_pruner(cls, wrapped: AnyRule | None) -> AnyRule | None:
        if wrapped is not None and not isinstance(wrapped, PrunerSettings):
            raise refused("a pruner", got=f"the condition {wrapped.name}")
        if isinstance(wrapped, OneEpoch):
            raise refused("a pruner of Optuna", got=wrapped.name, hint="list it beside patient")
        return wrapped


class Threshold(PrunerSettings):
    """The value is NaN, below ``lower`` or above ``upper``."""

    name = "threshold"

    lower: Annotated[float, Field(allow_inf_nan=False)] | None = None
    upper: Annotated[float, Field(allow_inf_nan=False)] | None = None
    n_warmup_steps: Count = 0
    interval_steps: AtLeastOne = 1

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.lower is None and self.upper is None:
            raise refused("lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            got = f"lower: {self.lower:g} and upper: {self.upper:g}"
            raise refused("an upper that is not below lower", got=got)
        return self


class Wilcoxon(PrunerSettings):
    """A signed-rank test against the best trial, for sweeps where evaluations are instances of a problem."""

    name = "wilcoxon"

    p_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    n_startup_steps: Count = 2


class OneEpoch(PrunerSettings):
    """By the first value of the objective, the best one of ``reduction_factor`` continues; decided as values arrive."""

    name = "one_epoch"

    reduction_factor: Factor = 3


PRUNERS: Mapping[str, type[PrunerSettings]] = {
    kind.name: kind
    for kind in (Median, Percentile, SuccessiveHalving, Hyperband, Patient, Threshold, Wilcoxon, OneEpoch)
}
