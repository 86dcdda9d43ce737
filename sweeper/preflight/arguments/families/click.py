"""click: `@click.option` and `@click.argument` of the command that trains, also in a group."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sweeper.preflight.arguments.fields import member_names
from sweeper.preflight.arguments.model import UNREAD, Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.options import chosen, switch
from sweeper.preflight.arguments.script import Module, Script, calls_in
from sweeper.preflight.arguments.values import name_of

LIBRARIES = ("click", "rich_click", "asyncclick")
SUFFIX = re.compile(r"_(command|cmd|group|grp)$")
"""What click removes from the name of a function that becomes a command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    word: str
    module: Module
    function: ast.FunctionDef | ast.AsyncFunctionDef
    group: str


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses click; None if it does not."""
    if not script.imports(*LIBRARIES):
        return None
    commands = list(_commands(script, "command"))
    groups = {one.function.name: one for one in _commands(script, "group")}
    if not commands:
        return None
    word, to_do = chosen([one.word for one in commands])
    command = next(one for one in commands if one.word == word)
    unread: list[str] = []
    words: list[str] = []
    leading: list[Argument] = []
    group = groups.get(command.group)
    if group is not None:
        words = [command.word]
        while (above := groups.get(group.group)) is not None and above is not group:
            words, group = [group.word, *words], above
        leading = [judged(replace(one, leading=True)) for one in _arguments(group, script, unread)]
    return Arguments(
        family="click",
        passing=Passing.FLAGS,
        arguments=(*leading, *_arguments(command, script, unread)),
        before=tuple(words),
        unread=tuple(unread),
        to_do=to_do,
    )


def _commands(script: Script, kind: str) -> Iterator[_Command]:
    for module in script.places:
        for function in module.definitions.values():
            for decorator in function.decorator_list:
                target = decorator.func if isinstance(decorator, ast.Call) else decorator
                if isinstance(function, ast.ClassDef) or name_of(target) != kind:
                    continue
                words = [*decorator.args] if isinstance(decorator, ast.Call) else []
                words += (
                    [w.value for w in decorator.keywords if w.arg == "name"] if isinstance(decorator, ast.Call) else []
                )
                given = script.value(words[0], module) if words else None
                word = given if isinstance(given, str) else SUFFIX.sub("", function.name).replace("_", "-").lower()
                group = name_of(target.value) if isinstance(target, ast.Attribute) else ""
                yield _Command(word=word, module=module, function=function, group=group)


def _arguments(command: _Command, script: Script, unread: list[str]) -> list[Argument]:
    """Return the arguments of a command, also those that a decorator of the script's own adds."""
    found: list[Argument] = []
    for decorator in command.function.decorator_list:
        name = name_of(decorator)
        own = script.definition(name, command.module)
        calls: Sequence[tuple[Module, ast.Call]] = []
        if isinstance(decorator, ast.Call) and name in ("option", "argument"):
            calls = [(command.module, decorator)]
        elif own is not None:
            inside = [call for call in calls_in(ast.walk(own[1])) if name_of(call.func) in ("option", "argument")]
            calls = [(own[0], call) for call in inside if script.origin(call.func, own[0]) in LIBRARIES]
        elif len(command.module.bound.get(name, ())) == 1:  # shared = click.option(...)
            calls = [(command.module, call) for call in calls_in(ast.walk(command.module.bound[name][0]))]
        for module, call in calls:
            names = [script.value(word, module) for word in call.args]
            if not names or not all(isinstance(one, str) for one in names):
                unread.append(module.where(call))
            elif name_of(call.func) == "option":
                found.append(_option([str(one) for one in names], call, script, module))
            else:
                found.append(_positional(str(names[0]), call, script, module))
    return found


def _option(names: Sequence[str], call: ast.Call, script: Script, module: Module) -> Argument:
    words = {word.arg: script.value(word.value, module) for word in call.keywords if word.arg}
    nodes = {word.arg: word.value for word in call.keywords if word.arg}
    on = [name.split("/")[0].strip() for name in names if name.startswith("-")]
    long = [name for name in on if name.startswith("--")]
    name = (long or on or [names[0]])[0].lstrip("-")
    off = next((part.strip() for one in names if "/" in one for part in one.split("/")[1:] if "--" in part), "")
    help_text = str(words["help"]) if isinstance(words.get("help"), str) else ""
    default = words.get("default")
    required = words.get("required") is True or (words.get("prompt") not in (None, False) and default is None)
    if off:
        return switch(name, default, f"={off.lstrip('-')}", help_text=help_text, required=required)
    kind = ArgumentKind.OPTION
    plain_flag = "type" not in nodes and isinstance(default, bool) and words.get("is_flag") is None
    if words.get("is_flag") is True or plain_flag:
        kind, default = ArgumentKind.SWITCH, default if default is UNREAD else bool(default)
    type_name = name_of(nodes.get("type"))
    left_out = ""
    if "flag_value" in words:
        left_out = "is one of several switches for one value: write it in command"
    elif "count" in words:
        left_out = "counts how often it is given: write it in command"
    return judged(
        Argument(
            name=name,
            kind=kind,
            default=_typed(default, type_name),
            required=required,
            choices=_choices(nodes.get("type"), script, module),
            help=help_text,
            several=words.get("multiple") is True or words.get("nargs") not in (None, 1),
            repeated=words.get("multiple") is True,
            short=not long and bool(on),
            left_out=left_out,
        )
    )


def _positional(name: str, call: ast.Call, script: Script, module: Module) -> Argument:
    words = {word.arg: script.value(word.value, module) for word in call.keywords if word.arg}
    nargs, default = words.get("nargs", 1), words.get("default")
    return judged(
        Argument(
            name=name,
            kind=ArgumentKind.POSITIONAL,
            default=default,
            required=words.get("required", default is None and nargs != -1) is True,
            several=nargs != 1,
        )
    )


def _choices(node: ast.expr | None, script: Script, module: Module) -> tuple[object, ...]:
    if not isinstance(node, ast.Call) or name_of(node.func) != "Choice" or not node.args:
        return ()
    values = script.value(node.args[0], module)
    if values is UNREAD:
        values = script.members(name_of(node.args[0]), module)
    return member_names(tuple(values)) if isinstance(values, list | tuple) else ()


def _typed(default: object, kind: str) -> object:
    return float(default) if kind in ("float", "FLOAT", "FloatRange") and type(default) is int else default
