"""Evaluate expressions of a script without running them: literals, constants, and arithmetic of these."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from sweeper.preflight.arguments.model import UNREAD

Look = Callable[[str], object]
"""A function that returns the value of a name, or `UNREAD`."""

_BINARY: Mapping[type[ast.operator], Callable[[float, float], object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}
LARGEST = 1 << 20
"""The largest operand of a power, a shift or a product of text, so that no expression takes long."""


class _Unreadable(Exception):
    """The value is known only to the running script."""


def value_of(node: ast.expr | None, look: Look) -> object:
    """Return the value of an expression, or `UNREAD`."""
    try:
        return _value(node, look)
    except (_Unreadable, ArithmeticError, TypeError, ValueError, AttributeError, RecursionError, MemoryError):
        return UNREAD


def name_of(node: ast.expr | None) -> str:
    """Return the last part of a dotted name or of the function that a call names; empty for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=called) | ast.Subscript(value=called):
            return name_of(called)
        case _:
            return ""


def dotted(node: ast.expr | None) -> str:
    """Return a dotted name in full, such as `tyro.conf.arg`; empty for anything else."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name) if before := dotted(inner):
            return f"{before}.{name}"
        case _:
            return ""


def _value(node: ast.expr | None, look: Look) -> object:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return _named(node, look)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            found = [_value(item, look) for item in items]
            return tuple(found) if isinstance(node, ast.Tuple) else found
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_value(key, look): _value(value, look) for key, value in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, look)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, look)
        case ast.BinOp(left=left, op=sign, right=right):
            return _computed(_value(left, look), sign, _value(right, look))
        case ast.Call():
            return _called(node, look)
        case _:
            raise _Unreadable


def _named(node: ast.expr, look: Look) -> object:
    path = dotted(node)
    if path in ("math.inf", "np.inf", "numpy.inf"):
        return math.inf
    if path in ("math.pi", "np.pi", "numpy.pi"):
        return math.pi
    if not path or (value := look(path)) is UNREAD:
        raise _Unreadable
    return value


def _number(node: ast.expr, look: Look) -> int | float:
    value = _value(node, look)
    if not isinstance(value, int | float):
        raise _Unreadable
    return value


def _computed(left: object, sign: ast.operator, right: object) -> object:
    if isinstance(left, str) and isinstance(right, str):
        if isinstance(sign, ast.Add):
            return left + right
        if isinstance(sign, ast.Div):  # paths; text cannot be divided
            return str(PurePosixPath(left) / right)
    if not isinstance(left, int | float) or not isinstance(right, int | float) or type(sign) not in _BINARY:
        raise _Unreadable
    if isinstance(sign, ast.Pow | ast.LShift) and (abs(right) > 64 or abs(left) > LARGEST):  # noqa: PLR2004 - bits
        raise _Unreadable
    result = _BINARY[type(sign)](left, right)
    if isinstance(result, complex):
        raise _Unreadable
    return result


def _called(call: ast.Call, look: Look) -> object:
    """Return the value of a call of one of the few functions that give the same result without the running script."""
    path, name = dotted(call.func), name_of(call.func)
    if name in ("keys", "values") and isinstance(call.func, ast.Attribute) and not call.args:
        mapping = _value(call.func.value, look)
        if isinstance(mapping, dict):
            return list(mapping.keys() if name == "keys" else mapping.values())
        raise _Unreadable
    values = [_value(word, look) for word in call.args]
    named = {word.arg: _value(word.value, look) for word in call.keywords if word.arg}
    if path == "dict" and not values and len(named) == len(call.keywords):
        return named
    if named:
        raise _Unreadable
    texts = [value for value in values if isinstance(value, str)]
    match path, values:
        case "list" | "sorted" | "tuple", [list() | tuple() | dict() as items]:
            return sorted(items) if path == "sorted" else tuple(items) if path == "tuple" else list(items)
        case "range", [int(), *_] if all(isinstance(v, int) and abs(v) < LARGEST for v in values):
            return list(range(*values))[:100]  # type: ignore[call-overload]  # integers, as the guard says
        case "float" | "int" | "str", [int() | float() | str() as value]:
            return {"float": float, "int": int, "str": str}[path](value)
        case (("Path" | "pathlib.Path" | "PurePath" | "os.path.join"), [_, *_]) if len(texts) == len(values):
            return str(PurePosixPath(*texts))
        case _:
            raise _Unreadable
