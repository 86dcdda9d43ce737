"""The settings of early-stop rules, with their defaults and checks, as a sweep file has them.

A sweep file lists rules as mappings with one key, the rule's name. There are three kinds: *diagnoses*, one class of
failure each (`rules.diagnoses`), *conditions* on one trial to combine as one likes (`RuleSettings`), and *pruners*,
which compare trials by the objective (`PrunerSettings`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
    field_validator,
    model_validator,
)

from sweeper.mistakes import listed, refused, shown, suggested
from sweeper.rules.base import MetricName, Part, Positive, RuleSettings, StopSettings
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING

TIMING = ("grace_steps", "patience", "every")
_FORMER_TIMING = {
    "vanishing_gradient": {"grace_steps": 60, "patience": 1, "every": 1},
    "non_finite": {"grace_steps": 0, "patience": 3, "every": 1},
}
"""Defaults of sweeper 0.1.0, whose records list them inside `all` and `any` too."""

AUTO = "auto"
"""The preset: it stands for every diagnosis that stops a trial, each with its defaults.

A sweep file writes it in place of `early_stop`, in place of `early_stop.rules`, or as one entry of that list.
"""
PRESET: tuple[StopSettings, ...] = tuple(DIAGNOSES[name]() for name in STOPPING)
"""The rules that `AUTO` stands for."""


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
            if given := [name for name in TIMING if _is_given(rule, name)]:
                raise refused(f"conditions without {listed(TIMING)}, which stand beside `of`", got=", ".join(given))
        return of


def _is_given(rule: RuleSettings, name: str) -> bool:
    value, former = getattr(rule, name), _FORMER_TIMING.get(rule_name(rule), {})
    return value not in (type(rule).model_fields[name].default, former.get(name))


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
    **DIAGNOSES,
    "stalled": Stalled,
    "update_ratio": UpdateRatio,
    "exploding_gradient": ExplodingGradient,
    "zero_gradient": ZeroGradient,
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


# ---- the list of rules, with the preset in it ------------------------------------------------------------------------


def _listed(rules: object) -> object:
    if rules == AUTO:
        return (AUTO,)
    if not isinstance(rules, list | tuple):
        hint = f"write [{{{rules}: {{}}}}]" if isinstance(rules, str) and rules in RULES else _hint(rules)
        raise refused(f"{AUTO} or a list of rules", hint=hint)
    return rules


def _entry(entry: object, inner: ValidatorFunctionWrapHandler) -> object:
    if entry == AUTO:
        return AUTO
    if isinstance(entry, Mapping) and list(entry) == [AUTO]:
        raise refused(f"the word {AUTO} without settings", hint=f"write {AUTO}, and after it the rules to change")
    if not isinstance(entry, StopSettings) and not (isinstance(entry, Mapping) and len(entry) == 1):
        raise refused(f"{AUTO}, or a mapping with one key, the rule's name: {listed(RULES)}", hint=_hint(entry))
    return inner(entry)


def _hint(word: object) -> str:
    if not isinstance(word, str):
        return ""
    return f"write {{{word}: {{}}}}" if word in RULES else suggested(word, [AUTO, *RULES])


def _expanded(entries: tuple[Any, ...]) -> tuple[StopSettings, ...]:
    """Return the entries with the rules of the preset in place of the word `AUTO`.

    An entry after the word that has the name of one of these rules replaces that rule.
    """
    if AUTO not in entries:
        return entries
    at = entries.index(AUTO)
    before, after = entries[:at], [rule for rule in entries[at + 1 :] if rule != AUTO]
    given = {rule_name(rule): rule for rule in after}
    preset = (given.get(rule_name(rule), rule) for rule in PRESET)
    return (*before, *preset, *(rule for rule in after if rule_name(rule) not in STOPPING))


def shortened(rules: Sequence[StopSettings]) -> list[str | StopSettings]:
    """Return the shortest entries of a sweep file that these rules can be read from: the inverse of the expansion."""
    names = [rule_name(rule) for rule in rules]
    count = len(STOPPING)
    at = next((i for i in range(len(names) - count + 1) if tuple(names[i : i + count]) == STOPPING), None)
    if at is None or any(names.count(name) > 1 for name in STOPPING):
        return list(rules)
    changed = [rule for rule, usual in zip(rules[at : at + count], PRESET, strict=True) if rule != usual]
    return [*rules[:at], AUTO, *changed, *rules[at + count :]]


def written(rules: Sequence[StopSettings]) -> list[object]:
    """Return the rules as a sweep file would list them, with the settings that differ from the defaults."""
    dump = TypeAdapter(Rule).dump_python
    return [one if isinstance(one, str) else dump(one, mode="json", exclude_defaults=True) for one in shortened(rules)]


if TYPE_CHECKING:
    Rules = tuple[StopSettings, ...]
else:
    Rules = Annotated[
        tuple[Annotated[Rule, WrapValidator(_entry)], ...],
        Field(strict=False),
        BeforeValidator(_listed),
        AfterValidator(_expanded),
    ]

_Combined.model_rebuild()
AllOf.model_rebuild()
AnyOf.model_rebuild()
Patient.model_rebuild()
