"""Make an argument of a field of a dataclass or a parameter of a function, in the way of the library that reads it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.preflight.arguments.fields import Field
from sweeper.preflight.arguments.model import UNREAD, Argument, ArgumentKind, Member, judged

TRAINING = ("train", "fit", "pretrain", "finetune", "fine-tune", "run", "main")
"""Subcommands that train, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a library passes the fields of a dataclass.

    Attributes:
        hyphens: whether `batch_size` becomes `--batch-size`.
        pairs: what stands before a name to turn a switch off, such as `no-`; empty if switches take a value.
        lists: whether a list is one word, as in `--layers=[1, 2]`.
        repeated: whether several values are passed by repeating the name.
        values: whether members of an enumeration are passed by their value, not by their name.
    """

    hyphens: bool = False
    pairs: str = ""
    lists: bool = False
    repeated: bool = False
    values: bool = False


def argument_of(field: Field, manner: Manner, kind: ArgumentKind = ArgumentKind.OPTION) -> Argument:
    """Return the argument that a library makes of a field."""
    name = field.name.replace("_", "-") if manner.hyphens else field.name
    choices = tuple(_passed(choice, manner) for choice in field.type.choices)
    default = _passed(field.default, manner)
    is_bool = field.type.name == "bool" or isinstance(default, bool)
    if is_bool and manner.pairs and kind is ArgumentKind.OPTION:
        return switch(name, default, manner.pairs, help_text=field.help, required=field.required)
    several = field.type.several and not manner.lists
    argument = Argument(
        name=name,
        kind=kind,
        default=_as(field.type.name, default),
        required=field.required,
        choices=() if UNREAD in choices else choices,
        help=field.help,
        several=several,
        repeated=several and manner.repeated,
    )
    return judged(argument, lists=manner.lists)


def switch(name: str, default: object, off: str, *, help_text: str = "", required: bool = False) -> Argument:
    """Return a switch that has a counterpart: the one of the two that changes the default.

    Args:
        name: the name that turns it on.
        default: its default; a required switch has none.
        off: what stands before the last part of the name to turn it off; or the whole other name after `=`.
        help_text: the help text.
        required: whether the script needs one of the two, in which case it is on.
    """
    if default is not True and not required:
        on = Argument(
            name=name, kind=ArgumentKind.SWITCH, default=default if default is UNREAD else False, help=help_text
        )
        return judged(on)
    group, dot, last = name.rpartition(".")
    other = off[1:] if off.startswith("=") else f"{group}{dot}{off}{last}"
    about = f"turns {name} off, which is on by default" if not help_text else f"turns off: {help_text}"
    return Argument(name=other, kind=ArgumentKind.SWITCH, default=False, help=about)


def as_literal(made: Argument) -> Argument:
    """Return an argument that is left out if its default is text that the script would read as a Python literal."""
    if made.left_out or not isinstance(made.default, str):
        return made
    try:
        node = ast.parse(made.default.strip() or "x", mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return made
    if isinstance(node, ast.Constant | ast.Tuple | ast.List | ast.Dict | ast.Set | ast.UnaryOp):
        return replace(made, left_out="is text that the script would read as another value: write it in command")
    return made


def chosen(names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the likeliest of several subcommands for a sweep, and what to say about the choice."""
    name = next((name for name in TRAINING if name in names), names[0])
    if len(names) == 1:
        return name, ()
    others = ", ".join(other for other in names if other != name)
    return name, (f"check the subcommand in command: {name} was chosen, and the script also has {others}",)


def _passed(value: object, manner: Manner) -> object:
    if isinstance(value, Member):
        return value.value if manner.values else value.name
    return value


def _as(kind: str, value: object) -> object:
    """Return a whole default of a floating-point field as such, so that suggested values are fractions."""
    return float(value) if kind == "float" and type(value) is int else value
