"""ml_collections: the values that `get_config()` of a `DEFINE_config_file` assigns, as `--config.lr=...`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sweeper.preflight.arguments.configs import flattened
from sweeper.preflight.arguments.model import Argument, ArgumentKind, judged
from sweeper.preflight.arguments.reading import script_of
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import dotted, name_of


def config_arguments(
    call: ast.Call, module: Module, script: Script, before: list[str], to_do: list[str]
) -> Iterator[Argument]:
    """Return the values of a configuration of ml_collections, as `--config.lr=...`."""
    words = {word.arg: word.value for word in call.keywords if word.arg}
    name = script.value(call.args[0], module) if call.args else None
    second = call.args[1] if len(call.args) > 1 else words.get("default")
    if not isinstance(name, str):
        to_do.append(f"could not be read, so it is not in this file: {module.where(call)}")
        return
    if name_of(call.func) == "DEFINE_config_dict":
        definition = script.definition(name_of(second), module)
        yield from _values(definition[1], module, script, name) if definition is not None else ()
        return
    path = script.given.get(name, script.value(second, module))
    if not isinstance(path, str):
        yield Argument(name=name, kind=ArgumentKind.OPTION, required=True, help="a Python file with get_config()")
        return
    before.append(f"--{name}={path}")
    file, _, _ = path.partition(":")
    if not Path(file).is_file():
        to_do.append(f"{file} was not found: write its values as parameters, as in {name}.lr")
        return
    config = script_of(Path(file), {})
    maker = config.own.definitions.get("get_config")
    yield from _values(maker, config.own, config, name) if maker is not None else ()


def _values(maker: ast.AST, module: Module, script: Script, name: str) -> Iterator[Argument]:
    """Return the values that a function such as `get_config` assigns to attributes of its configuration."""
    assignments = [node for node in ast.walk(maker) if isinstance(node, ast.Assign)]
    names = {"config": ""}
    for node in assignments:  # config.optim = optim = ConfigDict()
        targets = [dotted(target) for target in node.targets]
        inner = [target.partition(".")[2] for target in targets if target.partition(".")[0] in names and "." in target]
        names |= {target: f"{inner[0]}." for target in targets if inner and "." not in target}
    for node in assignments:
        value = _value(node.value, module, script)
        for root, _, rest in (dotted(target).partition(".") for target in node.targets):
            if root in names and (rest or isinstance(value, dict)):
                key = f"{name}.{names[root]}{rest}".rstrip(".")
                for inner_name, one in flattened({key: value}):
                    yield judged(Argument(name=inner_name, kind=ArgumentKind.OPTION, default=one))


def _value(node: ast.expr, module: Module, script: Script) -> object:
    """Return the value of an assignment; a `ConfigDict` is the mapping that it is made from."""
    if isinstance(node, ast.Call) and name_of(node.func) == "ConfigDict":
        given = [_value(word, module, script) for word in node.args]
        return given[0] if given and isinstance(given[0], dict) else {}
    return script.value(node, module)
