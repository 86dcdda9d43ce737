"""The trial API, and W&B's: `sweeper.trial(defaults={...})` and `wandb.init(config={...})` return the parameters."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator

from sweeper.preflight.arguments.model import Argument, ArgumentKind, Arguments, Passing, judged
from sweeper.preflight.arguments.script import Module, Script
from sweeper.preflight.arguments.values import dotted, name_of

METHODS = frozenset({"get", "update", "setdefaults", "keys", "values", "items", "as_dict", "persist"})
"""Attributes of W&B's configuration that are no parameters."""


def read(script: Script) -> Arguments | None:
    """Return the defaults of the trial that the script opens; None if it opens none with literal defaults."""
    found = _of_keyword(script, ("trial", "start"), "defaults", "sweeper")
    return Arguments(family="sweeper.trial", passing=Passing.TRIAL, arguments=tuple(found)) if found else None


def read_wandb(script: Script) -> Arguments | None:
    """Return the configuration of a W&B run, and what else the script reads from `wandb.config`; None if it is empty.

    What the script only reads has no default, as in a script that an agent of W&B starts.
    """
    found = {one.name: one for one in _of_keyword(script, ("init",), "config", "wandb")}
    for name in _read_from_config(script) if any(script.calls("init", libraries=("wandb",))) else ():
        found.setdefault(name, Argument(name=name, kind=ArgumentKind.PARAMETER, required=True))
    return Arguments(family="W&B", passing=Passing.WANDB, arguments=tuple(found.values())) if found else None


def _read_from_config(script: Script) -> Iterator[str]:
    """Return the names in `wandb.config.lr`, `config.lr` and `config["lr"]`, where `config` is that of the run."""
    for module in script.modules:
        aliases = {name for name, nodes in module.assigned.items() if any(_is_config(node) for node in nodes)}
        for node in module.nodes:
            match node:
                case ast.Attribute(value=inner, attr=name) if name not in METHODS and _is_config(inner, aliases):
                    yield name
                case ast.Subscript(value=inner, slice=ast.Constant(value=str(name))) if _is_config(inner, aliases):
                    yield name
                case _:
                    continue


def _is_config(node: ast.expr, aliases: Container[str] = ()) -> bool:
    path = dotted(node)
    return path in ("wandb.config", "run.config", "wandb.run.config") or path in aliases


def _of_keyword(script: Script, names: tuple[str, ...], keyword: str, library: str) -> list[Argument]:
    found: dict[str, Argument] = {}
    for module, call in script.calls(*names, libraries=(library,)):
        for word in call.keywords:
            if word.arg == keyword:
                found |= {name: _parameter(name, value) for name, value in _entries(word.value, module, script)}
    return list(found.values())


def _entries(node: ast.expr, module: Module, script: Script) -> Iterator[tuple[str, object]]:
    """Return the entries of a mapping; the value is `UNREAD` if only the running script knows it."""
    node = module.resolved(node) or node
    pairs: list[tuple[object, ast.expr]] = []
    if isinstance(node, ast.Dict):
        pairs = [(script.value(key, module), value) for key, value in zip(node.keys, node.values, strict=True)]
    elif isinstance(node, ast.Call) and name_of(node.func) == "dict":
        pairs = [(word.arg, word.value) for word in node.keywords]
    elif isinstance(values := script.value(node, module), dict):
        yield from ((str(key), value) for key, value in values.items())
    yield from ((key, script.value(value, module)) for key, value in pairs if isinstance(key, str))


def _parameter(name: str, value: object) -> Argument:
    return judged(Argument(name=name, kind=ArgumentKind.PARAMETER, default=value), lists=True)
