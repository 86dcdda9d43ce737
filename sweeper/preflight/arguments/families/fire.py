"""python-fire: the parameters of the function, or of the class and its method, that `fire.Fire(...)` is given."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from sweeper.preflight.arguments.fields import Field, fields_of
from sweeper.preflight.arguments.model import Arguments, Passing
from sweeper.preflight.arguments.options import Manner, argument_of, as_literal, chosen
from sweeper.preflight.arguments.script import Definition, Module, Script
from sweeper.preflight.arguments.values import name_of

MANNER = Manner(lists=True)


def read(script: Script) -> Arguments | None:
    """Return the arguments of a script that uses python-fire; None if it does not."""
    for module, call in script.calls("Fire", libraries=("fire",)):
        component = call.args[0] if call.args else None
        component = component or next((word.value for word in call.keywords if word.arg == "component"), None)
        return _of_component(component, call, module, script)
    return None


def _of_component(component: ast.expr | None, call: ast.Call, module: Module, script: Script) -> Arguments:
    if isinstance(component, ast.Call) and isinstance(component.func, ast.Name):
        component = component.func  # Fire(Trainer())
    before: tuple[str, ...] = ()
    to_do: tuple[str, ...] = ()
    nodes: Mapping[str, ast.expr] = {}
    if isinstance(component, ast.Dict):
        keys = [script.value(key, module) for key in component.keys]
        nodes = {str(key): value for key, value in zip(keys, component.values, strict=True)}
    elif component is None:
        public = [name for name in module.definitions if not name.startswith("_")]
        nodes = {name: ast.Name(id=name, ctx=ast.Load()) for name in public}
    if nodes:
        word, to_do = chosen(list(nodes))
        component, before = nodes[word], (word,)
    found = script.definition(name_of(component), module)
    if found is None:
        return Arguments(family="fire", passing=Passing.FLAGS, unread=(module.where(call),))
    fields = fields_of(found[1], found[0], script)
    if isinstance(found[1], ast.ClassDef):
        method, more, said = _method(found[1], found[0], script)
        before, fields, to_do = (*before, *method), [*fields, *more], (*to_do, *said)
    return Arguments(
        family="fire",
        passing=Passing.FLAGS,
        arguments=tuple({one.name: as_literal(argument_of(one, MANNER)) for one in fields}.values()),
        before=before,
        to_do=to_do,
    )


def _method(owner: Definition, module: Module, script: Script) -> tuple[tuple[str, ...], list[Field], tuple[str, ...]]:
    """Return the method of a class that trains, as a word of the command, and its parameters."""
    methods = {one.name: one for one in owner.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")}
    if not methods:
        return (), [], ()
    word, to_do = chosen(list(methods))
    return (word,), fields_of(methods[word], module, script)[1:], to_do
