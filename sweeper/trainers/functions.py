"""Read the signature of a trainer function, `package.module:function`, from its source without running it.

Imports the standard library only. A function that only running the module would reveal (made by a decorator or a call)
is assumed to accept all arguments. The worker reports a mismatch when it calls the function.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from sweeper.errors import Mistake, SpecError
from sweeper.worker.process.sources import SourceFile, imported_from, is_installed, source_of

RUNNER = "sweeper.worker.function"
"""The module that `python -m` runs, with the function's name as its argument."""
ANYTHING = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)
SHAPE = "a function as package.module:function"
LONGEST_CHAIN = 10


def is_function(trainer: str) -> bool:
    """Return whether a trainer is a function, and not a built-in trainer."""
    return ":" in trainer


def signature_of(name: str, folder: Path | None = None) -> inspect.Signature:
    """Return the signature of a function. Defaults that are not literals are `...`.

    Args:
        name: the function as `package.module:function`.
        folder: the folder in which trials run; by default, the current one.

    Raises:
        SpecError: there is no such function. The error has exactly one mistake.
    """
    module, _, function = name.partition(":")
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise _mistake(SHAPE, repr(name))
    search_path = (str(folder or Path.cwd()),)
    source = source_of(module, search_path)
    if source is None and is_installed(module, search_path):
        return ANYTHING  # it is not written in Python
    if source is None:
        raise _mistake(f"a module {module}, in {search_path[0]} or installed", "none")
    return _in_source(source, function, LONGEST_CHAIN)


def _in_source(source: SourceFile, function: str, left: int) -> inspect.Signature:
    """Return the signature of a function at the top level of a file, or in the file that it is imported from."""
    try:
        body = ast.parse(source.file.read_bytes()).body
    except (OSError, ValueError) as error:
        raise _mistake(f"a module in {source.file} that can be read", str(error)) from None
    except SyntaxError as error:
        raise _mistake(f"Python in {source.file}", f"line {error.lineno}: {error.msg}") from None
    statements = list(_statements(body))
    bound = [statement for statement in statements if function in _names(statement)]
    if not bound:
        if any("*" in _names(statement) or "__getattr__" in _names(statement) for statement in statements):
            return ANYTHING
        known = [one.name for one in statements if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
        has = f"it has {', '.join(known[:10])}" if known else "it has no functions"
        raise _mistake(f"a function {function} in {source.file}", "nothing of that name", has)
    match bound:
        case [ast.FunctionDef(decorator_list=[]) as definition]:
            return _signature(definition.args)
        case [ast.AsyncFunctionDef()]:
            hint = "write a function that runs it, for example by asyncio.run"
            raise _mistake(f"a function {function} in {source.file}", "a coroutine", hint)
        case [ast.ImportFrom() as statement] if left:
            return _followed(statement, source, function, left)
        case _:
            return ANYTHING


def _followed(statement: ast.ImportFrom, source: SourceFile, function: str, left: int) -> inspect.Signature:
    original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == function)
    further = source_of(imported_from(statement, source.package), source.search_path)
    return ANYTHING if further is None else _in_source(further, original, left - 1)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Return the statements at the top level of a module, including those inside conditions and loops."""
    for statement in body:
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            inside = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
            handlers = statement.handlers if isinstance(statement, ast.Try) else []
            yield from _statements([*inside, *(child for handler in handlers for child in handler.body)])
        yield statement


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds; `*` for a star import."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {statement.name}
        case ast.Import() | ast.ImportFrom():
            return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        case ast.If() | ast.Try() | ast.While():
            return set()
        case _:
            return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _signature(arguments: ast.arguments) -> inspect.Signature:
    kind = inspect.Parameter
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = len(positional) - len(arguments.defaults)
    found = []
    for index, argument in enumerate(positional):
        of = kind.POSITIONAL_ONLY if index < len(arguments.posonlyargs) else kind.POSITIONAL_OR_KEYWORD
        default = _default(arguments.defaults[index - missing]) if index >= missing else kind.empty
        found.append(kind(argument.arg, of, default=default))
    if arguments.vararg is not None:
        found.append(kind(arguments.vararg.arg, kind.VAR_POSITIONAL))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default = kind.empty if value is None else _default(value)
        found.append(kind(argument.arg, kind.KEYWORD_ONLY, default=default))
    if arguments.kwarg is not None:
        found.append(kind(arguments.kwarg.arg, kind.VAR_KEYWORD))
    return inspect.Signature(found)


def _default(node: ast.expr) -> object:
    """Return the value of a literal, and `...` for any other default."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ...


def _mistake(expected: str, got: str, hint: str = "") -> SpecError:
    return SpecError([Mistake(where="", key="trainer", expected=expected, got=got, hint=hint)])
