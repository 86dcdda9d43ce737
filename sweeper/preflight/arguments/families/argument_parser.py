"""argparse: calls of `add_argument`, followed through groups, subparsers, helper functions and modules."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace

from sweeper.preflight.arguments.fields import member_names
from sweeper.preflight.arguments.model import UNREAD, Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.options import chosen, switch
from sweeper.preflight.arguments.parsers import parsers_of
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

SEVERAL = ("append", "extend", "append_const", "count", "store_const")
"""argparse actions for options that are more than one value."""
PLAIN = ("store", "store_true", "store_false", "BooleanOptionalAction")


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses argparse; None if it does not."""
    parsers = parsers_of(script, _argument)
    if not any(parser.arguments or parser.unread for parser in parsers):
        return None
    subcommands = [parser for parser in parsers if parser.words]
    if not subcommands:
        found = {one.name: one for parser in parsers for one in parser.arguments}
        unread = tuple(line for parser in parsers for line in parser.unread)
        return Arguments(family="argparse", passing=Passing.FLAGS, arguments=tuple(found.values()), unread=unread)
    name, to_do = chosen([" ".join(parser.words) for parser in subcommands])
    one = next(parser for parser in subcommands if " ".join(parser.words) == name)
    parents = {id(parser) for sub in subcommands for parser in sub.parents}
    roots = [parser for parser in parsers if not parser.words and id(parser) not in parents]
    leading = [judged(replace(argument, leading=True)) for parser in roots for argument in parser.arguments]
    own = [argument for parser in (*one.parents, one) for argument in parser.arguments]
    return Arguments(
        family="argparse",
        passing=Passing.FLAGS,
        arguments=tuple({argument.name: argument for argument in (*leading, *own)}.values()),
        before=tuple(one.words),
        unread=tuple(line for parser in (*roots, *one.parents, one) for line in parser.unread),
        to_do=to_do,
    )


def _argument(call: ast.Call, given: Mapping[str, object], script: Script, module: Module) -> Argument | None:
    read = [script.value(word, module) for word in call.args]
    names = [name for name in read if isinstance(name, str)]
    if not names or len(names) < len(read):
        return None
    words = {word.arg: script.value(word.value, module) for word in call.keywords if word.arg}
    nodes = {word.arg: word.value for word in call.keywords if word.arg}
    long = [name for name in names if name.startswith("--")]
    name = (long or names)[0].lstrip("-")
    kind = ArgumentKind.OPTION if names[0].startswith("-") else ArgumentKind.POSITIONAL
    action = words.get("action", "store")
    action = action if isinstance(action, str) else name_of(nodes.get("action"))
    type_name = name_of(nodes.get("type"))
    default = given.get(str(words.get("dest", name)).replace("-", "_"), words.get("default"))
    help_text = words["help"] if isinstance(words.get("help"), str) else ""
    if action == "BooleanOptionalAction" and isinstance(default, bool):
        return switch(name, default, "no-", help_text=str(help_text))
    if action in ("store_true", "store_false"):
        # As a switch, `store_false` is off until it is given.
        kind, default = ArgumentKind.SWITCH, default is True and action == "store_true"
    elif action == "BooleanOptionalAction":
        kind = ArgumentKind.SWITCH
    choices = words.get("choices")
    if choices is UNREAD and (members := script.members(name_of(nodes["choices"]), module)):
        choices = members
    positional = kind is ArgumentKind.POSITIONAL
    made = Argument(
        name=name,
        kind=kind,
        default=_typed(default, type_name),
        required=words.get("required") is True or (positional and words.get("nargs") not in ("?", "*")),
        choices=member_names(tuple(choices)) if isinstance(choices, list | tuple | dict) else (),
        help=str(help_text),
        several=action in ("append", "extend") or words.get("nargs") not in (None, "?"),
        repeated=action == "append",
        short=not positional and not long,
    )
    return judged(replace(made, left_out=_why_left_out(made, action, type_name)))


def _why_left_out(made: Argument, action: str, type_name: str) -> str:
    """Return why an argument cannot be a parameter of a sweep, if it is for what only argparse has."""
    if type_name == "bool" and not made.required:
        return "has the type bool, for which any text is true, even False"
    if action in ("help", "version"):
        return "only prints a text"
    if action in SEVERAL:
        return "takes several values: write them in command"
    if action not in PLAIN:
        return f"has a custom action, {action}"
    return ""


def _typed(default: object, kind: str) -> object:
    """Return a default as argparse would convert it, if it is text; a whole default of type float as a fraction."""
    if isinstance(default, str) and kind in ("int", "float"):
        try:
            return int(default) if kind == "int" else float(default)
        except ValueError:
            return default
    return float(default) if kind == "float" and type(default) is int else default
