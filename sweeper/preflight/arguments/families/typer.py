"""typer: the parameters of `typer.run(main)`, or of the function under `@app.command()` that trains."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweeper.preflight.arguments.fields import Field, fields_of
from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.options import Manner, argument_of, chosen, switch
from sweeper.preflight.arguments.script import Definition, Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(hyphens=True, pairs="no-", values=True, repeated=True)


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses typer; None if it does not."""
    if not script.imports("typer"):
        return None
    for module, call in script.calls("run", libraries=("typer",)):
        found = script.definition(name_of(call.args[0]), module) if call.args else None
        if found is None:
            return Arguments(family="typer", passing=Passing.FLAGS, unread=(module.where(call),))
        return _of_function(found[1], found[0], script)
    commands = {word: (module, function) for word, module, function in _decorated(script, "command")}
    if not commands:
        return None
    word, to_do = chosen(list(commands))
    module, function = commands[word]
    callbacks = list(_decorated(script, "callback"))
    read_ones = _of_function(function, module, script)
    leading = [
        judged(replace(one, leading=True))
        for _, inside, callback in callbacks
        for one in _of_function(callback, inside, script).arguments
    ]
    before = (word,) if len(commands) > 1 or callbacks else ()
    return replace(read_ones, arguments=(*leading, *read_ones.arguments), before=before, to_do=to_do)


def _decorated(script: Script, kind: str) -> Iterator[tuple[str, Module, Definition]]:
    for module in script.places:
        for function in module.definitions.values():
            for decorator in function.decorator_list:
                if isinstance(decorator, ast.Call) and name_of(decorator.func) == kind:
                    words = [*decorator.args, *(word.value for word in decorator.keywords if word.arg == "name")]
                    given = script.value(words[0], module) if words else None
                    word = given if isinstance(given, str) else function.name.replace("_", "-").lower()
                    yield word, module, function


def _of_function(function: Definition, module: Module, script: Script) -> Arguments:
    fields = [field for field in fields_of(function, module, script) if field.type.name != "Context"]
    arguments = tuple(_argument(field, script) for field in fields)
    return Arguments(family="typer", passing=Passing.FLAGS, arguments=arguments)


def _argument(field: Field, script: Script) -> Argument:
    """Return the argument of a parameter, which `typer.Option` and `typer.Argument` describe in its type or default."""
    in_default = isinstance(field.node, ast.Call) and name_of(field.node.func) in ("Option", "Argument")
    about = next((node for node in (field.node, *field.type.about) if _is_about(node)), None)
    if not isinstance(about, ast.Call):
        kind = ArgumentKind.POSITIONAL if field.required else ArgumentKind.OPTION
        return argument_of(field, MANNER, kind)
    kind = ArgumentKind.OPTION if name_of(about.func) == "Option" else ArgumentKind.POSITIONAL
    words = {word.arg: script.value(word.value, field.module) for word in about.keywords if word.arg}
    values = list(about.args)
    if in_default:
        node = values.pop(0) if values else next((w.value for w in about.keywords if w.arg == "default"), None)
        needed = node is None or (isinstance(node, ast.Constant) and node.value is ...)
        default = None if needed else script.value(node, field.module)
        field = replace(field, default=default, required=needed)
    text = words.get("help")
    field = replace(field, help=text if isinstance(text, str) else "")
    names = [name for name in (script.value(value, field.module) for value in values) if isinstance(name, str)]
    return (
        _named(names, argument_of(field, MANNER, kind), field)
        if names and kind is ArgumentKind.OPTION
        else (argument_of(field, MANNER, kind))
    )


def _named(names: Sequence[str], made: Argument, field: Field) -> Argument:
    """Return an option under the name that the script gives it."""
    parts = [name.split("/") for name in names]
    long = [part[0].strip() for part in parts if part[0].strip().startswith("--")]
    off = next((part[1].strip() for part in parts if len(part) > 1 and "--" in part[1]), "")
    if off and long:
        name = long[0].lstrip("-")
        return switch(name, field.default, f"={off.lstrip('-')}", help_text=field.help, required=field.required)
    if field.type.name == "bool" and long:
        on = Argument(name=long[0].lstrip("-"), kind=ArgumentKind.SWITCH, default=field.default, help=field.help)
        return judged(on)
    if not long:
        return judged(replace(made, name=names[0].lstrip("-"), short=True, left_out=""))
    return replace(made, name=long[0].lstrip("-"))


def _is_about(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in ("Option", "Argument")
