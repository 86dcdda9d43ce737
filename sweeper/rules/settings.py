"""The registry of all rules, and how a sweep file lists them.

A sweep file lists rules as mappings with one key, the rule's name. There are three kinds. *Diagnoses* are classes of
failure (`rules.diagnoses`), *conditions* hold for one trial (`rules.conditions`) and can be combined with ``all`` and
``any``, and *pruners* compare trials by the objective (`rules.pruner_settings`).
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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
)

from sweeper.mistakes import listed, one_of, refused, shown, suggested
from sweeper.rules.base import Condition, RuleSettings, StopSettings
from sweeper.rules.conditions import CONDITIONS
from sweeper.rules.conditions.combined import all_of, any_of
from sweeper.rules.diagnoses import DIAGNOSES, STOPPING
from sweeper.rules.pruner_settings import PRUNERS, Patient

TIMING = ("grace_steps", "patience", "every")
_FORMER_TIMING = {
    "vanishing_gradient": {"grace_steps": 60, "patience": 1, "every": 1},
    "non_finite": {"grace_steps": 0, "patience": 3, "every": 1},
}
"""Defaults of sweeper 0.1.0; its records list them inside `all` and `any` too."""

AUTO = "auto"
"""The preset: it stands for every diagnosis that stops a trial, each with its defaults.

A sweep file writes it in place of `early_stop`, in place of `early_stop.rules`, or as one entry of that list.
"""
PRESET: tuple[StopSettings, ...] = tuple(DIAGNOSES[name]() for name in STOPPING)
"""The rules that `AUTO` stands for."""


class _CombinedSettings(RuleSettings):
    fires_by_default = False

    of: Annotated[tuple[AnyCondition, ...], Field(strict=False, min_length=1)]

    @field_validator("of")
    @classmethod
    def _leaves_timing_to_the_whole(cls, of: tuple[AnyCondition, ...]) -> tuple[AnyCondition, ...]:
        for rule in of:
            if not isinstance(rule, RuleSettings):
                raise refused("conditions on one trial", got=f"the pruner {rule.name}", hint="list it beside this rule")
            if given := [name for name in TIMING if _is_given(rule, name)]:
                raise refused(f"conditions without {listed(TIMING)}, which belong beside `of`", got=", ".join(given))
        return of


def _is_given(rule: RuleSettings, name: str) -> bool:
    value, former = getattr(rule, name), _FORMER_TIMING.get(rule.name, {})
    return value not in (type(rule).model_fields[name].default, former.get(name))


class AllOf(_CombinedSettings):
    """All of the conditions hold."""

    name = "all"

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return what all of the conditions read."""
        return [alternatives for needed in _needs_of_each(settings) for alternatives in needed]

    def condition(self) -> Condition:
        """Return the condition that has to hold for the rule to fire."""
        return all_of([one.condition() for one in self.of])


class AnyOf(_CombinedSettings):
    """Any of the conditions holds."""

    name = "any"

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return sets of which each contains something that every condition needs to fire."""
        return [frozenset().union(*choice) for choice in itertools.product(*_needs_of_each(settings))]

    def condition(self) -> Condition:
        """Return the condition that has to hold for the rule to fire."""
        return any_of([one.condition() for one in self.of])


def needs(rule: str, settings: Mapping[str, Any]) -> list[frozenset[str]]:
    """Return what a rule reads: of each set of values at least one. A pruner reads none, nor an unknown rule.

    Args:
        rule: the name of the rule.
        settings: its settings as in `spec.json`, which another version of sweeper may have written.
    """
    kind = RULES.get(rule)
    return kind.needs(settings) if kind is not None and issubclass(kind, RuleSettings) else []


def _needs_of_each(settings: Mapping[str, Any]) -> list[list[frozenset[str]]]:
    return [needs(name, inner) for one in settings.get("of", ()) for name, inner in one.items()]


RULES: Mapping[str, type[StopSettings]] = {
    **DIAGNOSES,
    **CONDITIONS,
    AllOf.name: AllOf,
    AnyOf.name: AnyOf,
    **PRUNERS,
}
"""The settings of each rule, by its name in a sweep file."""


def _named(rule: object) -> object:
    """Return the rule if it is like ``{stalled: {...}}``: a mapping with one key, the name of a rule."""
    if isinstance(rule, StopSettings):
        return rule
    if not isinstance(rule, Mapping) or len(rule) != 1:
        hint = f"write {{{rule}: {{}}}}" if isinstance(rule, str) and rule in RULES else ""
        raise refused(f"a mapping with one key, the rule's name: {one_of(RULES, rule)}", hint=hint)
    name = next(iter(rule))
    if name not in RULES:
        raise refused(f"the name of a rule: {one_of(RULES, name)}", got=shown(name), hint=suggested(str(name), RULES))
    return rule


def _name_of(rule: object) -> str | None:
    if isinstance(rule, StopSettings):
        return rule.name
    return str(next(iter(rule))) if isinstance(rule, Mapping) and rule else None


def _settings(rule: object) -> object:
    """Return the value of the one key; a bare list under ``all`` or ``any`` is taken for ``of``."""
    if not isinstance(rule, Mapping):
        return rule
    settings = next(iter(rule.values()))
    return {} if settings is None else {"of": settings} if isinstance(settings, list) else settings


def _wrapped(rule: StopSettings, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
    return {rule.name: inner(rule)}


if TYPE_CHECKING:
    AnyRule = StopSettings
    AnyCondition = RuleSettings
else:
    _KINDS = [Annotated[kind, BeforeValidator(_settings), Tag(name)] for name, kind in RULES.items()]
    AnyRule = Annotated[
        functools.reduce(operator.or_, _KINDS),
        Discriminator(_name_of),
        BeforeValidator(_named),
        WrapSerializer(_wrapped),
    ]
    AnyCondition = AnyRule


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
        raise refused(f"{AUTO}, or a mapping with one key, the rule's name: {one_of(RULES, entry)}", hint=_hint(entry))
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
    given = {rule.name: rule for rule in after}
    preset = (given.get(rule.name, rule) for rule in PRESET)
    return (*before, *preset, *(rule for rule in after if rule.name not in STOPPING))


def shortened(rules: Sequence[StopSettings]) -> list[str | StopSettings]:
    """Return the shortest entries of a sweep file that these rules can be read from: the inverse of the expansion."""
    names = [rule.name for rule in rules]
    count = len(STOPPING)
    at = next((i for i in range(len(names) - count + 1) if tuple(names[i : i + count]) == STOPPING), None)
    if at is None or any(names.count(name) > 1 for name in STOPPING):
        return list(rules)
    changed = [rule for rule, usual in zip(rules[at : at + count], PRESET, strict=True) if rule != usual]
    return [*rules[:at], AUTO, *changed, *rules[at + count :]]


def written(rules: Sequence[StopSettings]) -> list[object]:
    """Return the rules as a sweep file would list them, with the settings that differ from the defaults."""
    dump = TypeAdapter(AnyRule).dump_python
    return [one if isinstance(one, str) else dump(one, mode="json", exclude_defaults=True) for one in shortened(rules)]


if TYPE_CHECKING:
    Rules = tuple[StopSettings, ...]
else:
    Rules = Annotated[
        tuple[Annotated[AnyRule, WrapValidator(_entry)], ...],
        Field(strict=False),
        BeforeValidator(_listed),
        AfterValidator(_expanded),
    ]

_CombinedSettings.model_rebuild()
AllOf.model_rebuild()
AnyOf.model_rebuild()
Patient.model_rebuild(_types_namespace={"AnyRule": AnyRule})
