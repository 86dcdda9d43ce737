"""tyro: `tyro.cli(Config)` or `tyro.cli(main)`, with nested dataclasses, subcommands and `tyro.conf.Positional`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from sweeper.preflight.arguments.fields import Field, flat_fields, type_of
from sweeper.preflight.arguments.model import ArgumentKind, Arguments, Passing
from sweeper.preflight.arguments.options import Manner, argument_of, chosen
from sweeper.preflight.arguments.script import Definition, Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(hyphens=True, pairs="no-")


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses tyro; None if it does not."""
    calls = [*script.calls("cli", "subcommand_cli_from_dict", "overridable_config_cli", libraries=("tyro",))]
    if not calls:
        return None
    module, call = calls[0]
    node = call.args[0] if call.args else next((word.value for word in call.keywords if word.arg == "f"), None)
    word, to_do = "", tuple[str, ...]()
    if isinstance(node, ast.Dict) and name_of(call.func) == "subcommand_cli_from_dict":
        commands = {str(script.value(key, module)): value for key, value in zip(node.keys, node.values, strict=True)}
        word, to_do = chosen(list(commands))
        node = commands[word]
    elif isinstance(node, ast.expr) and (kinds := type_of(node, module, script).union):
        words = {_command(name): name for name in kinds}
        word, to_do = chosen(list(words))
        node = ast.Name(id=words[word], ctx=ast.Load())
    found = script.definition(name_of(node), module)
    if found is None:
        return Arguments(family="tyro", passing=Passing.FLAGS, unread=(module.where(call),))
    fields = _with_default(flat_fields(found[1], found[0], script), call, module, script)
    return Arguments(
        family="tyro",
        passing=Passing.FLAGS,
        arguments=tuple(argument_of(field, MANNER, _kind(field)) for field in fields),
        before=(word,) if word else (),
        to_do=to_do,
        unread=_subcommands(found[1], found[0], script),
    )


def _kind(field: Field) -> ArgumentKind:
    marked = any(name_of(node) == "Positional" for node in field.type.about)
    return ArgumentKind.POSITIONAL if marked or field.positional_only else ArgumentKind.OPTION


def _with_default(fields: Sequence[Field], call: ast.Call, module: Module, script: Script) -> list[Field]:
    """Return the fields with the values of `tyro.cli(Config, default=Config(lr=0.1))`."""
    node = next((word.value for word in call.keywords if word.arg == "default"), None)
    if not isinstance(node, ast.Call):
        return list(fields)
    given = {word.arg: script.value(word.value, module) for word in node.keywords if word.arg}
    return [replace(one, default=given[one.name], required=False) if one.name in given else one for one in fields]


def _subcommands(definition: Definition, module: Module, script: Script) -> tuple[str, ...]:
    """Return the fields that are subcommands themselves, because their type is a union of dataclasses."""
    nodes = [node for node in ast.walk(definition) if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation]
    return tuple(module.where(node) for node in nodes if type_of(node.annotation, module, script).union)


def _command(name: str) -> str:
    """Return the subcommand that tyro makes of the name of a class: `TrainConfig` is `train-config`."""
    hyphens = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return hyphens.lstrip("-").replace("_", "-")
