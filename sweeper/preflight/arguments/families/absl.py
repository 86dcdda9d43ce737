"""absl: `flags.DEFINE_float("lr", 0.1, "help")` and the other definitions, and ml_collections' `DEFINE_config_file`."""

from __future__ import annotations

import ast

from sweeper.preflight.arguments.config_dict import config_arguments
from sweeper.preflight.arguments.fields import member_names
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Member, Passing, judged
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

KINDS = ("string", "bool", "boolean", "integer", "float", "enum", "enum_class", "list", "spaceseplist", "alias")
SEVERAL = ("multi_string", "multi_integer", "multi_float", "multi_enum", "multi_enum_class")


def read(script: Script) -> Arguments | None:
    """Return the flags of a script that uses absl; None if it does not."""
    if not script.imports("absl", "ml_collections"):
        return None
    needed = {
        str(script.value(word, module))
        for module, call in script.calls("mark_flag_as_required", "mark_flags_as_required")
        for word in (getattr(call.args[0], "elts", [call.args[0]]) if call.args else ())
    }
    found: dict[str, Argument] = {}
    unread: list[str] = []
    for module, call in script.calls(*(f"DEFINE_{kind}" for kind in (*KINDS, *SEVERAL))):
        argument = _flag(call, module, script, needed)
        if argument is None:
            unread.append(module.where(call))
        else:
            found[argument.name] = argument
    before: list[str] = []
    to_do: list[str] = []
    for module, call in script.calls("DEFINE_config_file", "DEFINE_config_dict"):
        for argument in config_arguments(call, module, script, before, to_do):
            found[argument.name] = argument
    if not found and not unread and not before and not to_do:
        return None
    return Arguments(
        family="absl flags",
        passing=Passing.FLAGS,
        arguments=tuple(found.values()),
        before=tuple(before),
        used=tuple(name for name in script.given if any(word.startswith(f"--{name}=") for word in before)),
        unread=tuple(unread),
        to_do=tuple(to_do),
    )


def _flag(call: ast.Call, module: Module, script: Script, needed: set[str]) -> Argument | None:
    kind = name_of(call.func).removeprefix("DEFINE_")
    places = (
        ("name", "default", "enum_values", "help")
        if kind.endswith(("enum", "enum_class"))
        else ("name", "default", "help")
    )
    nodes = dict(zip(places, call.args, strict=False)) | {word.arg: word.value for word in call.keywords if word.arg}
    words = {key: script.value(node, module) for key, node in nodes.items()}
    name, default = words.get("name"), words.get("default")
    if not isinstance(name, str):
        return None
    if isinstance(default, Member):
        default = default.name
    if kind in ("list", "spaceseplist") and isinstance(default, list | tuple):
        default = ("," if kind == "list" else " ").join(map(str, default))
    values = words.get("enum_values")
    if kind == "enum_class":
        values = script.members(name_of(nodes.get("enum_values") or nodes.get("enum_class")), module)
    return judged(
        Argument(
            name=name,
            kind=ArgumentKind.OPTION,
            default=float(default) if kind == "float" and type(default) is int else default,
            required=name in needed or words.get("required") is True,
            choices=member_names(tuple(values)) if isinstance(values, list | tuple) else (),
            help=str(words["help"]) if isinstance(words.get("help"), str) else "",
            several=kind in SEVERAL,
            repeated=kind in SEVERAL,
        )
    )
