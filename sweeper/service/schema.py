"""The JSON Schema of all answers, made from their types and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.service.answers import VERSION, Answer, lineage, machine, series, sweep, trial

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ATTRIBUTE = re.compile(r"^ {8}(\w+): (.+?)(?=^ {8}\w|^ {4}\S|\Z)", re.MULTILINE | re.DOTALL)
_PLAIN: Mapping[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def answers() -> dict[str, type[Answer]]:
    """Return all answers by name."""
    found = [kind for module in (sweep, trial, lineage, series, machine) for kind in vars(module).values()]
    kinds = [kind for kind in found if isinstance(kind, type) and issubclass(kind, Answer) and kind is not Answer]
    return {kind.__name__: kind for kind in sorted(kinds, key=lambda kind: kind.__name__)}


def schema() -> dict[str, Any]:
    """Return one schema with a definition for each answer and each part of one; an answer is any of the former."""
    known = answers()
    return {
        "$schema": DIALECT,
        "title": f"Answers of sweeper, version {VERSION}",
        "anyOf": [_reference(kind) for kind in known.values()],
        "$defs": _definitions(known.values()),
    }


def schema_of(kind: type[Answer]) -> dict[str, Any]:
    """Return the schema of one kind of answer."""
    return {"$schema": DIALECT, **_reference(kind), "$defs": _definitions([kind])}


def _definitions(kinds: typing.Iterable[type]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if kind.__name__ not in made:
            made[kind.__name__] = _definition(kind)
            waiting += _parts(kind)
    return {name: made[name] for name in sorted(made)}


def _definition(kind: type[Any]) -> dict[str, Any]:
    texts, hints = _texts(kind), _hints(kind)
    properties = {}
    for one in dataclasses.fields(kind):
        known = _schema(hints[one.name])
        properties[one.name.removesuffix("_")] = {**known, "description": texts[one.name]}
    if "version" in properties and issubclass(kind, Answer):
        properties["version"]["const"] = VERSION
    return {
        "type": "object",
        "description": inspect.getdoc(kind).split("\n")[0],  # type: ignore[union-attr]  # each answer has one
        "properties": properties,
        "required": list(properties),
    }


def _schema(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - any type of a field
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is object:
        return {}
    if hint is float:  # of which JSON lacks some
        return {"type": ["number", "null"]}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if dataclasses.is_dataclass(hint):
        return _reference(typing.cast("type", hint))
    if origin in (typing.Union, types.UnionType):
        return _any_of([_schema(argument) for argument in arguments])
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin is not None and issubclass(origin, Sequence):
        return {"type": "array", "items": _schema(arguments[0])}
    raise TypeError(f"a field of an answer has the type {hint}, which is none of those that JSON has")


def _any_of(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what any of the options allows; types without more to say become one list."""
    if all(option.keys() == {"type"} for option in options):
        names: list[str] = []
        for option in options:
            names += option["type"] if isinstance(option["type"], list) else [option["type"]]
        return {"type": list(dict.fromkeys(names))}
    return {"anyOf": list(options)}


def _reference(kind: type) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _parts(kind: type[Any]) -> list[type]:
    """Return the dataclasses in the fields of one."""
    found, waiting = [], [hint for name, hint in _hints(kind).items()]
    while waiting:
        hint = waiting.pop(0)
        if dataclasses.is_dataclass(hint):
            found.append(typing.cast("type", hint))
        waiting += typing.get_args(hint)
    return found


def _hints(kind: type[Any]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)}


def _texts(kind: type[Any]) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of each field."""
    texts: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        _, _, attributes = (one.__doc__ or "").partition("Attributes:\n")
        texts |= {name: " ".join(text.split()).rstrip(".") for name, text in _ATTRIBUTE.findall(attributes)}
    return texts
