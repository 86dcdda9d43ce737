"""simple-parsing: `parse(Config)`, or `parser.add_arguments(Config, dest=...)` beside calls of `add_argument`."""

from __future__ import annotations

from dataclasses import replace

from sweeper.preflight.arguments.families import argument_parser
from sweeper.preflight.arguments.fields import flat_fields
from sweeper.preflight.arguments.model import Argument, Arguments, Passing
from sweeper.preflight.arguments.options import Manner, argument_of
from sweeper.preflight.arguments.script import Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner()


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses simple-parsing; None if it does not.

    Fields of nested dataclasses have no prefix, unless two fields have the same name.
    """
    if not script.imports("simple_parsing"):
        return None
    found: dict[str, Argument] = {}
    unread: list[str] = []
    for module, call in script.calls("add_arguments", "parse"):
        if not call.args or (name_of(call.func) == "parse" and script.origin(call.func, module) != "simple_parsing"):
            continue
        definition = script.definition(name_of(call.args[0]), module)
        if definition is None:
            unread.append(module.where(call))
            continue
        fields = flat_fields(definition[1], definition[0], script)
        last = [field.name.rpartition(".")[2] for field in fields]
        for field, name in zip(fields, last, strict=True):
            argument = argument_of(replace(field, name=name if last.count(name) == 1 else field.name), MANNER)
            found[argument.name] = argument
    beside = argument_parser.read(script)
    if not found and not unread and beside is None:
        return None
    more = beside or Arguments(family="", passing=Passing.FLAGS)
    return replace(
        more,
        family="simple-parsing",
        arguments=(*found.values(), *(one for one in more.arguments if one.name not in found)),
        unread=(*unread, *more.unread),
    )
