"""jsonargparse: `CLI(main)`, and parsers with `add_class_arguments` and `add_function_arguments`."""

from __future__ import annotations

import ast
from dataclasses import replace

from sweeper.preflight.arguments.families import argument_parser
from sweeper.preflight.arguments.fields import flat_fields
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.options import Manner, argument_of, chosen
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(lists=True)
CLI = ("CLI", "auto_cli", "auto_parser")
ADD = ("add_class_arguments", "add_function_arguments", "add_dataclass_arguments", "add_subclass_arguments")


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses jsonargparse; None if it does not."""
    if not script.imports("jsonargparse"):
        return None
    for module, call in script.calls(*CLI, libraries=("jsonargparse",)):
        return _of_cli(call, module, script)
    found: dict[str, Argument] = {}
    unread: list[str] = []
    for module, call in script.calls(*ADD):
        group = script.value(call.args[1], module) if len(call.args) > 1 else _group(call, module, script)
        options = _of(call.args[0], module, script) if call.args else []
        unread += [] if options else [module.where(call)]
        for one in options:
            name = f"{group}.{one.name}" if isinstance(group, str) else one.name
            found[name] = replace(one, name=name)
    beside = argument_parser.read(script) or Arguments(family="", passing=Passing.FLAGS)
    found |= {one.name: _typed(one) for one in beside.arguments}
    if not found and not unread and not beside.unread:
        return None
    return replace(beside, family="jsonargparse", arguments=tuple(found.values()), unread=(*unread, *beside.unread))


def _of_cli(call: ast.Call, module: Module, script: Script) -> Arguments:
    node: ast.expr | None = call.args[0] if call.args else None
    if node is None:
        node = next((word.value for word in call.keywords if word.arg == "components"), None)
    word, to_do = "", tuple[str, ...]()
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        word, to_do = chosen([name_of(item) for item in node.elts])
        node = next(item for item in node.elts if name_of(item) == word)
    positional = script.value(next((item.value for item in call.keywords if item.arg == "as_positional"), None), module)
    arguments = _of(node, module, script) if node is not None else []
    if positional is not False:
        arguments = [replace(one, kind=ArgumentKind.POSITIONAL) if one.required else one for one in arguments]
    return Arguments(
        family="jsonargparse",
        passing=Passing.FLAGS,
        arguments=tuple(arguments),
        before=(word,) if word else (),
        to_do=to_do,
        unread=() if arguments else (module.where(call),),
    )


def _of(node: ast.expr, module: Module, script: Script) -> list[Argument]:
    found = script.definition(name_of(node), module)
    return [argument_of(one, MANNER) for one in flat_fields(found[1], found[0], script)] if found is not None else []


def _group(call: ast.Call, module: Module, script: Script) -> object:
    return script.value(next((word.value for word in call.keywords if word.arg == "nested_key"), None), module)


def _typed(one: Argument) -> Argument:
    """Return an option of `add_argument`, which takes true and false with `type=bool`, as only jsonargparse does."""
    return judged(replace(one, left_out="")) if one.left_out.startswith("has the type bool") else one
