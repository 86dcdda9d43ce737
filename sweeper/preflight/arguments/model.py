"""The arguments of a script, as far as its source shows them: data only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum


class ArgumentKind(StrEnum):
    """How a value is passed to the script."""

    OPTION = "option"
    """As `--name=value`, or `name=value` where the script takes overrides."""
    SWITCH = "switch"
    """As `--name`, or not at all."""
    POSITIONAL = "positional"
    """As a word without a name."""
    PARAMETER = "parameter"
    """Through the trial API, as an argument of a function, or in a file of all parameters."""


class Passing(StrEnum):
    """How all parameters together reach the script."""

    FLAGS = "parameters are passed as --name=value"
    OVERRIDES = "parameters are passed as name=value"
    FILE = "the script reads its settings from a file, which sweeper writes for each trial"
    TRIAL = "sweeper.trial() returns the parameters"
    WANDB = "wandb.config has the parameters"
    NOTHING = "no parameter is passed yet"


class Unread(Enum):
    """The value of an expression that only running the script would reveal."""

    VALUE = "unread"


UNREAD = Unread.VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a script.

    Attributes:
        name: the name, without leading dashes.
        kind: how its value is passed.
        default: its default, as far as the source shows it.
        required: whether the script needs a value.
        choices: the allowed values; empty if any value is allowed.
        help: the help text.
        several: whether it takes several words of the command, so that it is no parameter of a sweep.
        repeated: whether several values are passed by repeating the name, as in `--tag a --tag b`.
        short: whether it has a short form only, as in `-x 3`, so that it is no parameter of a sweep.
        leading: whether it stands before a subcommand, so that it is no parameter of a sweep.
        left_out: why it cannot be a parameter of a sweep, so that the script's default applies; empty if it can.
    """

    name: str
    kind: ArgumentKind
    default: object = None
    required: bool = False
    choices: tuple[object, ...] = ()
    help: str = ""
    several: bool = False
    repeated: bool = False
    short: bool = False
    leading: bool = False
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of a script, and what else its source says about a sweep of it.

    Attributes:
        family: the library that reads the command line, for messages.
        passing: how the parameters reach the script.
        module_name: the name by which `python -m` has to start the script; empty if it is started by its path.
        arguments: all arguments that could be read.
        before: words between the script and its arguments, such as a subcommand.
        after: words after the arguments, such as an output directory.
        used: the names of given values that the file accounts for already, such as a configuration file.
        unread: `file:line: code` of each argument that could not be read.
        to_do: what is left to do by hand, one sentence each.
        metrics: the names of metrics that the script logs.
        printed: a metric in the output, as its name and the regular expression of its value; None if none was found.
        opens_trial: whether the script uses the trial API.
        imports_torch: whether the script, or a module beside it, imports torch or a library that does.
    """

    family: str
    passing: Passing
    module_name: str = ""
    arguments: tuple[Argument, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    to_do: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    printed: tuple[str, str] | None = None
    opens_trial: bool = False
    imports_torch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of an enumeration, as the default of an argument.

    Attributes:
        name: the name of the member.
        value: its value, as far as the source shows it.
    """

    name: str
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An instance of a class, as the default of a field: `Optimizer(lr=0.1)`.

    Attributes:
        of: the name of the class.
        given: the arguments by name that could be read.
    """

    of: str
    given: Mapping[str, object] = field(default_factory=dict)


def judged(argument: Argument, *, lists: bool = False) -> Argument:
    """Return an argument with the reason why it cannot be a parameter, if there is one that its default shows.

    Args:
        argument: the argument, with the default that was read.
        lists: whether the script takes a list as one word, as in `--layers=[1, 2]`.
    """
    if isinstance(argument.default, Member):
        argument = replace(argument, default=argument.default.name)
    if not all(is_plain(choice) and _fits(choice) for choice in argument.choices):
        argument = replace(argument, choices=())
    return argument if argument.left_out else replace(argument, left_out=_why_left_out(argument, lists=lists))


def _why_left_out(one: Argument, *, lists: bool) -> str:
    if one.short:
        return f"has only the short form -{one.name}: write it in command"
    if one.several:
        return "takes several values: write them in command"
    if one.default is UNREAD:
        return "its default is computed when the script runs"
    if one.kind is ArgumentKind.SWITCH and one.default is True:
        return "is on by default, and a switch cannot turn it off"
    if one.kind is ArgumentKind.SWITCH and one.default not in (False, None):
        return "is a switch with a default that is neither true nor false"
    if one.default is None and not one.required:
        return "has no default"
    if one.leading:
        return "stands before the subcommand: write it in command"
    values = one.default if isinstance(one.default, list | tuple) and lists else [one.default]
    if not all(map(is_plain, values)):
        return "its default is not a number or text"
    return "" if all(map(_fits, values)) else "its default is infinite, too large or has control characters"


def _fits(value: object) -> bool:
    """Return whether a sweep file can hold a value."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return not isinstance(value, str) or "\0" not in value


def is_plain(value: object) -> bool:
    """Return whether a value is a number, text, true, false or None."""
    return value is None or isinstance(value, bool | int | float | str)
