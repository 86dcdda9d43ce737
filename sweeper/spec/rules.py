"""Early-stop rules as a sweep file has them: a list of mappings with one key, the rule's name."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    WrapSerializer,
    field_validator,
)

from sweeper.spec.parameters import STRICT, refused
from sweeper.spec.wording import listed, shown, suggested

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Part = Annotated[float, Field(gt=0, lt=1)]
MetricName = Annotated[str, Field(min_length=1)]
TIMING = ("grace_steps", "patience", "every")


class RuleSettings(BaseModel):
    """What every rule has: no verdict before ``grace_steps``; ``patience`` looks in a row, ``every`` so many steps."""

    model_config = STRICT
    grace_steps: Annotated[int, Field(ge=0)] = 60
    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    every: Annotated[int, Field(ge=1)] = 1


class _Windowed(RuleSettings):
    window: Annotated[int, Field(ge=1, le=99)] = 5

    @field_validator("window")
    @classmethod
    def _has_a_middle(cls, window: int) -> int:
        if window % 2 == 0:
            raise refused("an odd number, so that the median is an observation")
        return window


class Stalled(_Windowed):
    """Reach is gone, or the scheduled update ratio is, and the loss gains nothing: not the part ``gain`` of its lowest.

    ``loss`` names it; ``auto`` is the training loss that the script reports, if any, and ``none`` asks for no loss.
    """

    below: Part = 0.005
    ratio_of_start: Part | None = 0.06
    loss: MetricName = "auto"
    gain: Part = 0.02


class VanishingGradient(_Windowed):
    """The median of ``reach`` is under ``below``, or under ``of_start`` times that of the first looks."""

    below: Part = 0.005
    of_start: Part | None = None


class UpdateRatio(_Windowed):
    """The median update ratio is under ``low``, under ``of_start`` times that of the first looks, or above ``high``."""

    low: Positive | None = None
    high: Positive | None = None
    of_start: Part | None = None
    scheduled: bool = True


class ExplodingGradient(_Windowed):
    """The norm of the gradient is above ``above``, or above ``times`` its median before."""

    times: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 100.0
    above: Positive | None = None


class ZeroGradient(_Windowed):
    """In some layer at least the share ``share`` of the gradient is exactly 0."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.95


class NonFinite(RuleSettings):
    """A metric, or the norm of the gradient, is not finite."""

    metric: MetricName = "loss/train"
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    grace_steps: Annotated[int, Field(ge=0)] = 0


class Plateau(RuleSettings):
    """A loss is no better than the class prior's, or than it was at the start.

    Learners too are at chance for as long as a warmup lasts, so its grace is long; it has to be longer than yours.
    """

    grace_steps: Annotated[int, Field(ge=0)] = 500

    metric: MetricName = "loss/train"
    prior: MetricName = "loss/prior"
    gain: Part = 0.02
    window: Annotated[int, Field(ge=1, le=999)] = 10


class _Combined(RuleSettings):
    of: Annotated[tuple[Rule, ...], Field(strict=False, min_length=1)]

    @field_validator("of")
    @classmethod
    def _leaves_timing_to_the_whole(cls, of: tuple[Rule, ...]) -> tuple[Rule, ...]:
        for rule in of:
            given = [name for name in TIMING if getattr(rule, name) != type(rule).model_fields[name].default]
            if given:
                raise refused(f"conditions without {listed(TIMING)}, which stand beside `of`", got=", ".join(given))
        return of


class AllOf(_Combined):
    """All of the conditions hold."""


class AnyOf(_Combined):
    """Any of the conditions holds."""


RULES: Mapping[str, type[RuleSettings]] = {
    "stalled": Stalled,
    "vanishing_gradient": VanishingGradient,
    "update_ratio": UpdateRatio,
    "exploding_gradient": ExplodingGradient,
    "zero_gradient": ZeroGradient,
    "non_finite": NonFinite,
    "plateau": Plateau,
    "all": AllOf,
    "any": AnyOf,
}
"""The rules by the names that a sweep file gives them."""

_NAMES = {kind: name for name, kind in RULES.items()}


def rule_name(rule: RuleSettings) -> str:
    """The name that a sweep file gives the rule."""
    return _NAMES[type(rule)]


def _named(rule: object) -> object:
    """The rule, if it is ``{stalled: {...}}``: a mapping with one key that is the name of a rule."""
    if isinstance(rule, RuleSettings):
        return rule
    if not isinstance(rule, Mapping) or len(rule) != 1:
        hint = f"write {{{rule}: {{}}}}" if isinstance(rule, str) and rule in RULES else ""
        raise refused(f"a mapping with one key, the rule's name: {listed(RULES)}", hint=hint)
    name = next(iter(rule))
    if name not in RULES:
        raise refused(f"the name of a rule: {listed(RULES)}", got=shown(name), hint=suggested(str(name), RULES))
    return rule


def _name_of(rule: object) -> str | None:
    if isinstance(rule, RuleSettings):
        return rule_name(rule)
    return str(next(iter(rule))) if isinstance(rule, Mapping) and rule else None


def _settings(rule: object) -> object:
    """What stands under the one key; a bare list under ``all`` or ``any`` is what it is made of."""
    if not isinstance(rule, Mapping):
        return rule
    settings = next(iter(rule.values()))
    return {} if settings is None else {"of": settings} if isinstance(settings, list) else settings


def _wrapped(rule: RuleSettings, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {rule_name(rule): inner(rule)}


if TYPE_CHECKING:
    Rule = RuleSettings
else:
    _KINDS = [Annotated[kind, BeforeValidator(_settings), Tag(name)] for name, kind in RULES.items()]
    Rule = Annotated[
        functools.reduce(operator.or_, _KINDS),
        Discriminator(_name_of),
        BeforeValidator(_named),
        WrapSerializer(_wrapped),
    ]

_Combined.model_rebuild()
AllOf.model_rebuild()
AnyOf.model_rebuild()
