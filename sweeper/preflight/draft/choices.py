"""Decide what each argument becomes in the sweep file: a parameter, a word of the command, or a comment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sweeper.config import value_as_typed
from sweeper.errors import UsageError
from sweeper.mistakes import suggested
from sweeper.preflight.arguments import Argument, ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.roles import is_output, is_seed

MOST_PARAMETERS = 100
"""Maximum number of parameters in a new file. A sweep file may have 256, but users vary a few."""
NAME = re.compile(r"[^\W\d_][\w.-]*")
"""The names that a parameter of a sweep can have."""
TOO_MANY = f"is beyond the first {MOST_PARAMETERS} values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the arguments of a script become.

    Attributes:
        parameters: the arguments that the file has as parameters.
        seeds: those that get the seed of the trial.
        outputs: those that get a place in the directory of the trial.
        words: those with a fixed value in the command; the positional ones among them in their order.
        left_out: those that the script sets itself, each with the reason.
        varied: the names of those for which the user gave a list of values to vary.
    """

    parameters: tuple[Argument, ...]
    seeds: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    words: tuple[Argument, ...]
    left_out: tuple[Argument, ...]
    varied: frozenset[str]


def choices_of(target: str, read: Arguments, given: Mapping[str, str]) -> Choices:
    """Return what the arguments become, with the values that the user gave.

    Raises:
        UsageError: a value has no argument, or a required argument has no value.
    """
    values = _values(target, read, given)
    seeds = tuple(one for one in read.arguments if _takes_seed(one, read.passing))
    outputs = tuple(one for one in read.arguments if _takes_output(one) and one.name not in values)
    special = {one.name for one in (*seeds, *outputs)}
    arguments = [_with_valid_name(one) for one in read.arguments]
    found = [replace(one, default=values[one.name], left_out="") if one.name in values else one for one in arguments]
    seeds = tuple(one for one in found if one.name in {seed.name for seed in seeds})
    _refuse_missing(target, [one for one in found if one.name not in special and one.name not in values])
    words = tuple(one for one in found if one.name not in special and _is_word(one, given=one.name in values))
    rest = [one for one in found if one.name not in special and one not in words]
    parameters = [one for one in rest if not one.left_out]
    return Choices(
        parameters=tuple(parameters[:MOST_PARAMETERS]),
        seeds=seeds,
        outputs=outputs,
        words=words,
        varied=frozenset(one.name for one in read.arguments if _is_varied(one, values.get(one.name))),
        left_out=(
            *(one for one in rest if one.left_out),
            *(replace(one, left_out=TOO_MANY) for one in parameters[MOST_PARAMETERS:]),
        ),
    )


def _with_valid_name(one: Argument) -> Argument:
    """Return an argument that is left out if its name cannot be that of a parameter."""
    if one.left_out or one.kind is ArgumentKind.POSITIONAL:
        return one
    if one.name == "seed":
        return replace(one, left_out="is the seed, which no parameter can be: let the script take it as an option")
    if NAME.fullmatch(one.name):
        return one
    return replace(one, left_out="has a name that no parameter can have: write it in command")


def _values(target: str, read: Arguments, given: Mapping[str, str]) -> dict[str, object]:
    """Return the given values by the names of their arguments; `batch_size` also names `batch-size`."""
    known = [argument.name for argument in read.arguments]
    spelled = {name.replace("-", "_"): name for name in known}
    found: dict[str, object] = {}
    for name, text in given.items():
        if name in read.used:
            continue
        if name not in known and name.replace("-", "_") not in spelled:
            raise UsageError(
                f"{target}: expected one of its arguments, got {name}; {suggested(name, known)}".rstrip("; ")
            )
        found[name if name in known else spelled[name.replace("-", "_")]] = value_as_typed(text, name)
    return found


def _refuse_missing(target: str, arguments: Sequence[Argument]) -> None:
    missing = [one.name for one in arguments if one.required and one.default is None]
    if missing:
        example = " ".join(f"{name}=..." for name in missing)
        raise UsageError(
            f"{target}: these arguments have no default: {', '.join(missing)}. "
            f"Give their values: `sweeper init {target} {example}`"
        )


def _is_varied(one: Argument, value: object) -> bool:
    """Return whether a given list has values to vary; for an argument that is a list, only a list of lists has."""
    if not isinstance(value, list):
        return False
    return not isinstance(one.default, list | tuple) or all(isinstance(item, list) for item in value)


def _takes_seed(one: Argument, passing: Passing) -> bool:
    if one.kind is ArgumentKind.PARAMETER:
        return one.name == "seed" and passing is Passing.TRIAL
    return is_seed(one) and one.kind is ArgumentKind.OPTION and not one.short


def _takes_output(one: Argument) -> bool:
    return one.kind in (ArgumentKind.OPTION, ArgumentKind.POSITIONAL) and not one.short and is_output(one)


def _is_word(one: Argument, *, given: bool) -> bool:
    """Return whether an argument stands in the command with one value for all trials."""
    if one.kind is ArgumentKind.POSITIONAL:
        return given or not one.left_out
    is_parameter = one.kind is ArgumentKind.PARAMETER or NAME.fullmatch(one.name)
    return given and (one.several or one.short or one.leading or not is_parameter)
