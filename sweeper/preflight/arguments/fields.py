"""Read the fields of a dataclass and the parameters of a function: what several libraries make a command line from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sweeper.preflight.arguments.model import UNREAD, Made, Member
from sweeper.preflight.arguments.script import Definition, Module, Script
from sweeper.preflight.arguments.values import name_of

SEVERAL = frozenset({"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "set", "Set", "Collection"})
MAPPINGS = frozenset({"dict", "Dict", "Mapping"})
FIELDS = frozenset({"field", "Field", "HfArg", "ib", "attrib", "flag", "mutable_field", "list_field"})
"""Functions that describe a field in its default."""
DEEPEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """The type of a field, as far as it matters for a command line.

    Attributes:
        name: the last part of its name, without `Optional`; empty if there is no annotation.
        choices: the allowed values, from a `Literal` or an enumeration (as its members).
        several: whether it is a list, or another sequence.
        union: the names of the classes, if it is a union of several.
        about: the calls in `Annotated[...]`, such as `typer.Option(...)`.
    """

    name: str = ""
    choices: tuple[object, ...] = ()
    several: bool = False
    union: tuple[str, ...] = ()
    about: tuple[ast.expr, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a dataclass, or a parameter of a function.

    Attributes:
        name: its name; dotted if it is in a nested dataclass.
        type: its type.
        default: its default; None if there is none.
        required: whether it needs a value.
        positional_only: whether a function takes it by position only.
        help: the help text, if the default has one.
        node: the expression of its default, for libraries that describe an argument there.
        module: the module that defines it.
    """

    name: str
    type: Type
    default: object = None
    required: bool = False
    positional_only: bool = False
    help: str = ""
    node: ast.expr | None = None
    module: Module


def fields_of(definition: Definition, module: Module, script: Script) -> list[Field]:
    """Return the parameters of a function, or the fields of a class with those that it inherits."""
    if isinstance(definition, ast.ClassDef):
        inits = [one for one in definition.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
        if inits:
            return list(_parameters(inits[0], module, script))[1:]
        return list(_of_class(definition, module, script, DEEPEST).values())
    return list(_parameters(definition, module, script))


def flat_fields(definition: Definition, module: Module, script: Script) -> list[Field]:
    """Return the fields with those of nested dataclasses in their place, under dotted names."""
    return list(_flat(fields_of(definition, module, script), script, DEEPEST))


def type_of(annotation: ast.expr | None, module: Module, script: Script) -> Type:
    """Return the type that an annotation names."""
    match annotation:
        case ast.Constant(value=str(text)):
            try:
                return type_of(ast.parse(text, mode="eval").body, module, script)
            except (SyntaxError, ValueError):
                return Type()
        case ast.Subscript(value=outer, slice=inner):
            return _subscripted(name_of(outer), inner, module, script)
        case ast.BinOp(op=ast.BitOr()):
            return _union(list(_sides(annotation)), module, script)
        case ast.Name() | ast.Attribute():
            name = name_of(annotation)
            members = tuple(script.members(name, module))
            return Type(name=name, choices=members, several=name in SEVERAL)
        case _:
            return Type()


def class_of(kind: Type, module: Module, script: Script) -> tuple[Module, ast.ClassDef] | None:
    """Return the class of a nested dataclass; None for any other type."""
    found = script.definition(kind.name, module) if kind.name and not kind.choices and not kind.several else None
    return found if found is not None and isinstance(found[1], ast.ClassDef) else None  # type: ignore[return-value]


def _subscripted(outer: str, inner: ast.expr, module: Module, script: Script) -> Type:
    parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    match outer:
        case "Optional":
            return type_of(inner, module, script)
        case "Union":
            return _union(parts, module, script)
        case "Literal":
            values = tuple(script.value(part, module) for part in parts)
            kind = type(values[0]).__name__ if values else ""
            return Type(name=kind, choices=() if UNREAD in values else values)
        case _ if not parts:
            return Type()
        case "Annotated" | "Positional" | "Arg" | "Suppress" | "Final" | "InitVar":
            found = type_of(parts[0], module, script)
            marker = [ast.Name(id=outer, ctx=ast.Load())] if outer == "Positional" else []
            return replace(found, about=(*found.about, *parts[1:], *marker))
        case _ if outer in SEVERAL:
            return Type(name=outer, several=True)
        case _:
            return Type(name=outer)


def _union(parts: list[ast.expr], module: Module, script: Script) -> Type:
    kept = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is None)]
    kinds = [type_of(part, module, script) for part in kept]
    if not kinds:
        return Type()
    classes = tuple(kind.name for kind in kinds if class_of(kind, module, script) is not None)
    return replace(kinds[0], union=classes) if len(classes) > 1 else kinds[0]


def _sides(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _sides(node.left)
        yield from _sides(node.right)
    else:
        yield node


def _parameters(definition: ast.FunctionDef | ast.AsyncFunctionDef, module: Module, script: Script) -> Iterator[Field]:
    arguments = definition.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += [*arguments.defaults, *arguments.kw_defaults]
    for index, (one, node) in enumerate(zip([*positional, *arguments.kwonlyargs], defaults, strict=True)):
        made = _field(one.arg, one.annotation, node, module, script)
        yield replace(made, positional_only=index < len(arguments.posonlyargs))


def _of_class(definition: ast.ClassDef, module: Module, script: Script, left: int) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for base in reversed(definition.bases):
        parent = script.definition(name_of(base), module)
        if left and parent is not None and isinstance(parent[1], ast.ClassDef) and parent[1] is not definition:
            found |= _of_class(parent[1], parent[0], script, left - 1)
    documented: Field | None = None
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                made = _field(name, annotation, value, module, script)
                if "ClassVar" not in ast.unparse(annotation) and not _is_no_argument(value):
                    found[name] = documented = made
            case ast.Expr(value=ast.Constant(value=str(text))) if documented is not None and not documented.help:
                found[documented.name] = replace(documented, help=text.strip())
                documented = None
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in found:
                found[name] = replace(found[name], default=script.value(value, module), node=value, required=False)
            case _:
                documented = None
    return found


def _is_no_argument(node: ast.expr | None) -> bool:
    words = node.keywords if isinstance(node, ast.Call) else ()
    return any(word.arg == "init" and ast.unparse(word.value) == "False" for word in words)


def _field(name: str, annotation: ast.expr | None, node: ast.expr | None, module: Module, script: Script) -> Field:
    kind = type_of(annotation, module, script)
    plain = Field(name=name, type=kind, required=node is None, node=node, module=module)
    if not isinstance(node, ast.Call):
        return replace(plain, default=None if node is None else script.value(node, module))
    words = {word.arg: word.value for word in node.keywords if word.arg}
    called = name_of(node.func)
    if called not in FIELDS and called not in ("choice", "subgroups"):
        value = script.value(node, module)
        return replace(plain, default=_made(node, module, script) if value is UNREAD else value)
    help_text = next((_text(words[key], module, script) for key in ("help", "description") if key in words), "")
    if not help_text and "metadata" in words:
        metadata = script.value(words["metadata"], module)
        help_text = str(metadata.get("help", "")) if isinstance(metadata, dict) else ""
    if called == "choice":
        kind = replace(kind, choices=tuple(script.value(word, module) for word in node.args))
    described = replace(plain, type=kind, required=False, help=help_text)
    if called == "subgroups":
        return replace(described, default=UNREAD)
    factory = words.get("default_factory") or words.get("factory")
    if factory is None and called == "mutable_field" and node.args:
        factory = node.args[0]
    if factory is not None:
        return replace(described, default=_from_factory(factory, module, script))
    if called == "list_field":
        return replace(described, default=[script.value(word, module) for word in node.args])
    default = words.get("default", node.args[0] if node.args and called != "choice" else None)
    if default is None or (isinstance(default, ast.Constant) and default.value is ...):
        return replace(described, required=True)
    value = script.value(default, module)
    made = _made(default, module, script) if value is UNREAD and isinstance(default, ast.Call) else value
    return replace(described, default=made)


def _text(node: ast.expr, module: Module, script: Script) -> str:
    value = script.value(node, module)
    return value if isinstance(value, str) else ""


def _from_factory(node: ast.expr, module: Module, script: Script) -> object:
    match node:
        case ast.Lambda(body=ast.Call() as body) if script.value(body, module) is UNREAD:
            return _made(body, module, script)
        case ast.Lambda(body=body):
            return script.value(body, module)
        case ast.Name(id="list" | "dict" | "tuple"):
            return [] if node.id != "dict" else {}
        case _:
            return Made(of=name_of(node)) if script.definition(name_of(node), module) is not None else UNREAD


def _made(call: ast.Call, module: Module, script: Script) -> object:
    found = script.definition(name_of(call.func), module)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return UNREAD
    return Made(
        of=found[1].name, given={word.arg: script.value(word.value, module) for word in call.keywords if word.arg}
    )


def _flat(fields: list[Field], script: Script, left: int) -> Iterator[Field]:
    for one in fields:
        kind = replace(one.type, name=one.default.of) if isinstance(one.default, Made) else one.type
        nested = class_of(kind, one.module, script) if one.default is not None or one.required else None
        if nested is None or not left:
            yield one
            continue
        given = one.default.given if isinstance(one.default, Made) else {}
        for inner in _flat(fields_of(nested[1], nested[0], script), script, left - 1):
            default = given.get(inner.name, inner.default)
            required = inner.required and inner.name not in given
            yield replace(inner, name=f"{one.name}.{inner.name}", default=default, required=required)


def member_names(choices: tuple[object, ...]) -> tuple[object, ...]:
    """Return choices with the names of members in place of these."""
    return tuple(one.name if isinstance(one, Member) else one for one in choices)
