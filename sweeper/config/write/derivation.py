"""Read the changes of a derived trial from ``NAME=VALUE`` arguments, as `sweeper derive` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.config.model.sweep import SweepSpec
from sweeper.config.read.node import plain
from sweeper.config.read.overrides import expected_of, split
from sweeper.errors import Mistake, SpecError
from sweeper.mistakes import one_of, suggested
from sweeper.rules.repair.parameters import guessed


def derived_changes(spec: SweepSpec, params: Mapping[str, object], arguments: Sequence[str]) -> dict[str, object]:
    """Return the parameters that differ from those of a trial, with their new values.

    A value may lie outside of what the sweep searches. Its kind has to be that of the trial's value.

    Args:
        spec: the sweep.
        params: the parameters of the trial.
        arguments: as ``lr=1e-4``.

    Raises:
        SpecError: an argument is wrong. The error has all mistakes.
    """
    overrides, mistakes = split(arguments)
    given: dict[str, object] = {}
    for override in overrides:
        if override.key not in params:
            hint = suggested(override.key, params)
            expected = "no parameter: the trial has none"
            if params:
                expected = f"a parameter of the trial: {one_of(params, override.key, '`sweeper why` lists them')}"
            mistakes.append(Mistake(where=override.where, key="", expected=expected, got=override.key, hint=hint))
            continue
        declared = spec.parameters.get(override.key)
        settings = {} if declared is None else declared.model_dump(exclude={"when"}, exclude_none=True)
        node, wrong = override.node(("parameters", override.key), expected_of(settings))
        mistakes += wrong
        given[override.key] = plain(node)
        if not wrong and _kind(given[override.key]) != _kind(params[override.key]):
            expected = f"{_kind(params[override.key])}, as the trial has"
            mistakes.append(Mistake(where=override.where, key=override.key, expected=expected, got=override.value))
    if mistakes:
        raise SpecError(mistakes)
    return {name: value for name, value in given.items() if value != params[name]}


def lr_factor(params: Mapping[str, object], changes: Mapping[str, object], lr: str = "") -> float:
    """Return the factor by which changes multiply the learning rate; 1 if they do not.

    Args:
        params: the parameters before the changes.
        changes: the new values.
        lr: the name of the learning rate; empty: the usual one.
    """
    name = lr or guessed(params)[0].lr
    old, new = params.get(name), changes.get(name)
    if not isinstance(old, int | float) or not isinstance(new, int | float) or old <= 0 or new <= 0:
        return 1.0
    return new / old


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case None:
            return "null"
        case list() | tuple():
            return "a list"
    return "a mapping"
