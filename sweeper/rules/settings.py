"""The settings of early-stop rules, with their defaults and checks, as a sweep file has them.

A sweep file lists rules as mappings with one key, the rule's name. There are two kinds: *conditions* on one trial
(`RuleSettings`), and *pruners*, which compare trials by the objective (`PrunerSettings`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    WrapSerializer,
    field_validator,
    model_validator,
)

from sweeper.mistakes import listed, refused, shown, suggested
from sweeper.rules.base import MetricName, Part, Positive, RuleSettings, StopSettings

TIMING = ("grace_steps", "patience", "every")


class _Windowed(RuleSettings):
    window: Annotated[int, Field(ge=1, le=99)] = 5

    @field_validator("window")
    @classmethod
    def _has_a_middle(cls, window: int) -> int:
        if window % 2 == 0:
            raise refused("an odd number, so that the median is an observation")
        return window


class Stalled(_Windowed):
    """Reach or the scheduled update ratio has collapsed, and the loss has stopped improving.

    The loss improves when it falls by the share ``gain`` of its lowest value. ``loss`` is the name of the metric;
    ``auto`` takes the training loss that the script logs, if any, and ``none`` does not check a loss.
    """

    below: Part = 0.005
    ratio_of_start: Part | None = 0.06
    loss: MetricName = "auto"
    gain: Part = 0.02


class VanishingGradient(_Windowed):
    """The median of ``reach`` is below ``below``, or below ``of_start`` times its median at the start of the run."""

    below: Part = 0.005
    of_start: Part | None = None


class UpdateRatio(_Windowed):
    """The median update ratio is below ``low``, below ``of_start`` times its median at the start, or above ``high``."""

    low: Positive | None = None
    high: Positive | None = None
    of_start: Part | None = None
    scheduled: bool = True


class ExplodingGradient(_Windowed):
    """The gradient norm is above ``above``, or above ``times`` its median over the ``window`` observations before."""

    times: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 100.0
    above: Positive | None = None


class ZeroGradient(_Windowed):
    """In at least one layer, a share of at least ``share`` of the gradient is exactly 0."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.95


class NonFinite(RuleSettings):
    """A metric or the gradient norm is not finite."""

    metric: MetricName = "loss/train"
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    grace_steps: Annotated[int, Field(ge=0)] = 0


class Plateau(RuleSettings):
    """A loss is no better than always predicting the class prior, or than it was at the start.

    During a warmup a healthy run is at chance too, so ``grace_steps`` has to be longer than your warmup.
    """

    grace_steps: Annotated[int, Field(ge=0)] = 500

    metric: MetricName = "loss/train"
    prior: MetricName = "loss/prior"
    gain: Part = 0.02
    window: Annotated[int, Field(ge=1, le=999)] = 10


class _Combined(RuleSettings):
    of: Annotated[tuple[Condition, ...], Field(strict=False, min_length=1)]

    @field_validator("of")
    @classmethod
    def _leaves_timing_to_the_whole(cls, of: tuple[Condition, ...]) -> tuple[Condition, ...]:
        for rule in of:
            if not isinstance(rule, RuleSettings):
                raise refused(
                    "conditions on one trial", got=f"the pruner {rule_name(rule)}", hint="let it stand beside"
                )
            given = [name for name in TIMING if getattr(rule, name) != type(rule).model_fields[name].default]
            if given:
                raise refused(f"conditions without {listed(TIMING)}, which stand beside `of`", got=", ".join(given))
        return of


class AllOf(_Combined):
    """All of the conditions hold."""


class AnyOf(_Combined):
    """Any of the conditions holds."""


# ---- pruners, with Optuna's names and defaults; steps are evaluations of the objective, from 1 ----------------------


class PrunerSettings(StopSettings):
    """The settings of a pruner, which compares the objective of trials at the same evaluation."""


Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Factor = Annotated[int, Field(ge=2)]


class Median(PrunerSettings):
    """A trial's best value is worse than the median of the ended trials at the same evaluation."""

    n_startup_trials: Count = 5
    n_warmup_steps: Count = 0
    interval_steps: AtLeastOne = 1
    n_min_trials: AtLeastOne = 1


class Percentile(Median):
    """Like `Median`, but only the best ``percentile`` percent continue."""

    percentile: Annotated[float, Field(ge=0, le=100)] = 25.0


class SuccessiveHalving(PrunerSettings):
    """Asynchronous successive halving (ASHA): at each rung, the best one of ``reduction_factor`` trials continues."""

    min_resource: AtLeastOne = 1
    reduction_factor: Factor = 4
    min_early_stopping_rate: Count = 0
    bootstrap_count: Count = 0


class Hyperband(PrunerSettings):
    """Successive halving in several brackets; ``max_resource`` defaults to that of the first complete trial."""

    min_resource: AtLeastOne = 1
    max_resource: AtLeastOne | None = None
    reduction_factor: Factor = 3
    bootstrap_count: Count = 0


class Patient(PrunerSettings):
    """The objective has not improved for ``patience`` evaluations; with ``wrapped``, that pruner has to agree."""

    patience: Count = 3
    min_delta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    wrapped: Rule | None = None

    @field_validator("wrapped")
    @classmethod
    def _is_a_pruner(cls, wrapped: Rule | None) -> Rule | None:
        if wrapped is not None and not isinstance(wrapped, PrunerSettings):
            raise refused("a pruner", got=f"the condition {rule_name(wrapped)}")
        return wrapped


class Threshold(PrunerSettings):
    """The value is not finite, below ``lower`` or above ``upper``."""

    lower: Annotated[float, Field(allow_inf_nan=False)] | None = None
    upper: Annotated[float, Field(allow_inf_nan=False)] | None = None
    n_warmup_steps: Count = 0
    interval_steps: AtLeastOne = 1

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.lower is None and self.upper is None:
            raise refused("lower, upper or both")
        return self


class Wilcoxon(PrunerSettings):
    """A signed-rank test against the best trial, for sweeps whose evaluations are instances of a problem."""

    p_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    n_startup_steps: Count = 2


class OneEpoch(PrunerSettings):
    """By the first value of the objective, the best one of ``reduction_factor`` continues; decided as values arrive."""

    reduction_factor: Factor = 3


RULES: Mapping[str, type[StopSettings]] = {
    "stalled": Stalled,
    "vanishing_gradient": VanishingGradient,
    "update_ratio": UpdateRatio,
    "exploding_gradient": ExplodingGradient,
    "zero_gradient": ZeroGradient,
    "non_finite": NonFinite,
    "plateau": Plateau,
    "all": AllOf,
    "any": AnyOf,
    "median": Median,
    "percentile": Percentile,
    "successive_halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "patient": Patient,
    "threshold": Threshold,
    "wilcoxon": Wilcoxon,
    "one_epoch": OneEpoch,
}
"""The settings of each rule, by its name in a sweep file."""

_NAMES = {kind: name for name, kind in RULES.items()}


def rule_name(rule: StopSettings) -> str:
    """Return the rule's name in a sweep file."""
    return _NAMES[type(rule)]


def _named(rule: object) -> object:
    """Return the rule if it is like ``{stalled: {...}}``: a mapping whose one key is the name of a rule."""
    if isinstance(rule, StopSettings):
        return rule
    if not isinstance(rule, Mapping) or len(rule) != 1:
        hint = f"write {{{rule}: {{}}}}" if isinstance(rule, str) and rule in RULES else ""
        raise refused(f"a mapping with one key, the rule's name: {listed(RULES)}", hint=hint)
    name = next(iter(rule))
    if name not in RULES:
        raise refused(f"the name of a rule: {listed(RULES)}", got=shown(name), hint=suggested(str(name), RULES))
    return rule


def _name_of(rule: object) -> str | None:
    if isinstance(rule, StopSettings):
        return rule_name(rule)
    return str(next(iter(rule))) if isinstance(rule, Mapping) and rule else None


def _settings(rule: object) -> object:
    """Return the value of the one key; a bare list under ``all`` or ``any`` is taken for ``of``."""
    if not isinstance(rule, Mapping):
        return rule
    settings = next(iter(rule.values()))
    return {} if settings is None else {"of": settings} if isinstance(settings, list) else settings


def _wrapped(rule: StopSettings, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {rule_name(rule): inner(rule)}


if TYPE_CHECKING:
    Rule = StopSettings
    Condition = RuleSettings
else:
    _KINDS = [Annotated[kind, BeforeValidator(_settings), Tag(name)] for name, kind in RULES.items()]
    Rule = Annotated[
        functools.reduce(operator.or_, _KINDS),
        Discriminator(_name_of),
        BeforeValidator(_named),
        WrapSerializer(_wrapped),
    ]
    Condition = Rule

_Combined.model_rebuild()
AllOf.model_rebuild()
AnyOf.model_rebuild()
Patient.model_rebuild()
