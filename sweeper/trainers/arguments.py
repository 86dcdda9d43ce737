"""Read the arguments of a script from its source, without running it: argparse calls, or the defaults of its trial.

1. The calls in the script itself count. If it has none, those in the modules of its folder that it imports count.
2. Arguments that only running the script would reveal are not guessed: `unread` lists their lines, or `left_out` says
   why an argument cannot be a parameter.

Imports the standard library only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from sweeper.errors import UsageError
from sweeper.worker.process.sources import SourceFile, imports_of, is_installed, source_of


class ArgumentKind(StrEnum):
    """How a value is passed to the script."""

    OPTION = "option"
    """As ``--name=value``."""
    SWITCH = "switch"
    """As ``--name``, or not at all."""
    POSITIONAL = "positional"
    """As a word without a name."""
    PARAMETER = "parameter"
    """Through the trial API, or as an argument of a function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a script.

    Attributes:
        name: the name, without leading dashes.
        kind: how its value is passed.
        default: its default, as far as the source shows it.
        required: whether the script needs a value.
        choices: the allowed values; empty if any value is allowed.
        help: the help text.
        left_out: why it cannot be a parameter of a sweep, so that the script's default applies; empty if it can.
    """

    name: str
    kind: ArgumentKind
    default: object = None
    required: bool = False
    choices: tuple[object, ...] = ()
    help: str = ""
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of a script.

    Attributes:
        arguments: all arguments that could be read.
        metrics: the names of metrics that the script reports to its trial.
        opens_trial: whether the script uses the trial API.
        unread: `file:line: call` of each `add_argument` that could not be read.
    """

    arguments: tuple[Argument, ...]
    metrics: tuple[str, ...] = ()
    opens_trial: bool = False
    unread: tuple[str, ...] = ()


_UNREAD = object()
SEVERAL = ("append", "extend", "append_const", "count", "store_const")
"""argparse actions for options that are more than one value."""


def arguments_of(script: Path) -> Arguments:
    """Return the arguments of a script.

    Raises:
        UsageError: the script cannot be read, is not Python, has subcommands, or has no arguments that can be read.
    """
    tree = _parsed(script)
    own = _File.of(script, tree)
    files = [own] if own.takes_something else [own, *_beside(script)]
    if any(file.named("add_subparsers") for file in files):
        reason = "the script has subcommands, so its arguments cannot be read"
        raise UsageError(f"{script}: {reason}. Write a sweep file by hand, with command: [...]")
    found: dict[str, Argument] = {}
    unread: list[str] = []
    for file in files:
        for argument in file.arguments(unread):
            found[argument.name] = argument
    if not found and not unread:
        expected = "expected calls of argparse's add_argument, or sweeper.trial(defaults={...}), got none"
        raise UsageError(f"{script}: {expected}. You can also name a function in it, as package.module:function")
    return Arguments(
        arguments=tuple(found.values()),
        metrics=tuple(dict.fromkeys(name for file in files for name in file.metrics())),
        opens_trial=any(file.named("trial") for file in files),
        unread=tuple(unread),
    )


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: the script cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UsageError(f"{path}{line}: expected Python, got: {getattr(error, 'msg', error)}") from None


def _beside(script: Path) -> Iterator[_File]:
    """Return the modules that the script imports from its own folder, directly or indirectly."""
    search_path = (str(script.absolute().parent),)
    waiting, seen = [SourceFile(script, search_path=search_path)], {script.absolute()}
    while waiting:
        for name in imports_of(waiting.pop(0)):
            module = name.partition(":")[0]
            found = None if is_installed(module, search_path) else source_of(module, search_path)
            if found is not None and found.file.absolute() not in seen:
                seen.add(found.file.absolute())
                waiting.append(found)
                yield _File.of(found.file, _parsed(found.file))


@dataclass(frozen=True, slots=True)
class _File:
    """A parsed file.

    Attributes:
        path: the path of the file.
        calls: all calls, in the order of their lines.
        constants: the constants at the top level of the file.
        made: mappings and keys that are assigned to names, as pairs of name and expression.
    """

    path: Path
    calls: Sequence[ast.Call]
    constants: Mapping[str, object]
    made: Sequence[tuple[str, ast.expr]]

    @classmethod
    def of(cls, path: Path, tree: ast.Module) -> _File:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        calls.sort(key=lambda call: (call.lineno, call.col_offset))
        return cls(path, calls, _constants(tree), list(_made(tree)))

    @property
    def takes_something(self) -> bool:
        return bool(self.named("add_argument") or self._defaults_of_trial())

    def named(self, name: str) -> list[ast.Call]:
        """Return the calls of a function or method of this name."""
        return [call for call in self.calls if _name(call.func) == name]

    def metrics(self) -> Iterator[str]:
        """Return the metric names in calls of `report`: in the call itself, or in the mapping that it passes."""
        reported = [call.args[0] for call in self.named("report") if call.args]
        names = {node.id for node in reported if isinstance(node, ast.Name)}
        for node in (*reported, *(made for name, made in self.made if name in names)):
            for key in node.keys if isinstance(node, ast.Dict) else [node]:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value

    def arguments(self, unread: list[str]) -> Iterator[Argument]:
        """Return the arguments that can be read, with the defaults of set_defaults; add the others to `unread`."""
        given: dict[str, object] = {}
        for call in self.named("set_defaults"):
            given |= {word.arg: self._value(word.value) for word in call.keywords if word.arg}
        for call in self.named("add_argument"):
            names = [self._value(word) for word in call.args]
            if names and all(isinstance(name, str) for name in names):
                yield self._argument([str(name) for name in names], call, given)
            else:
                unread.append(f"{self.path}:{call.lineno}: {ast.unparse(call)[:100]}")
        for defaults in self._defaults_of_trial():
            for name, value in defaults.items():
                yield Argument(name=name, kind=ArgumentKind.PARAMETER, default=value)

    def _defaults_of_trial(self) -> list[dict[str, object]]:
        given = [word.value for call in self.named("trial") for word in call.keywords if word.arg == "defaults"]
        values = [self._value(node) for node in given]
        return [value for value in values if isinstance(value, dict) and all(isinstance(key, str) for key in value)]

    def _argument(self, names: Sequence[str], call: ast.Call, given: Mapping[str, object]) -> Argument:
        keywords = {word.arg: self._value(word.value) for word in call.keywords if word.arg}
        long = [name for name in names if name.startswith("--")]
        name = (long or list(names))[0].lstrip("-")
        kind = ArgumentKind.OPTION if names[0].startswith("-") else ArgumentKind.POSITIONAL
        action = _action(call, keywords.get("action", "store"))
        dest = str(keywords.get("dest", name)).replace("-", "_")
        default = given.get(dest, keywords.get("default"))
        if action == "store_true":
            kind, default = ArgumentKind.SWITCH, default is True
        elif action == "store_false":
            kind, default = ArgumentKind.SWITCH, False  # as a switch it is off, until it is given
        elif action == "BooleanOptionalAction":
            kind = ArgumentKind.SWITCH
        choices = keywords.get("choices")
        read = Argument(
            name=name,
            kind=kind,
            default=_typed(default, _name_of_type(call)),
            required=keywords.get("required") is True or (kind is ArgumentKind.POSITIONAL and _is_needed(keywords)),
            choices=tuple(choices) if isinstance(choices, list | tuple) else (),
            help=str(keywords["help"]) if isinstance(keywords.get("help"), str) else "",
        )
        if _name_of_type(call) == "bool" and not read.required:
            return replace(read, left_out="has the type bool, for which any text is true, even False")
        return replace(read, left_out=_why_left_out(read, action, keywords, has_long=bool(long)))

    def _value(self, node: ast.expr) -> object:
        """Return the value of a literal or a constant of the file; `_UNREAD` for anything else."""
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return _UNREAD


def _is_needed(keywords: Mapping[str, object]) -> bool:
    """Return whether a positional argument is required."""
    return keywords.get("nargs") not in ("?", "*")


def _why_left_out(read: Argument, action: str, keywords: Mapping[str, object], *, has_long: bool) -> str:
    """Return why an argument cannot be a parameter of a sweep; an empty string if it can."""
    if action in ("help", "version"):
        return "only prints a text"
    if action in SEVERAL or keywords.get("nargs") not in (None, "?"):
        return "takes several values: write them in command"
    if action not in ("store", "store_true", "store_false", "BooleanOptionalAction"):
        return f"has a custom action, {action}"
    if read.kind is not ArgumentKind.POSITIONAL and not has_long:
        return f"has only the short form -{read.name}: write it in command"
    if read.default is _UNREAD:
        return "its default is computed when the script runs"
    if read.kind is ArgumentKind.SWITCH and read.default is True:
        return "is on by default, and a switch cannot turn it off"
    if read.kind is ArgumentKind.SWITCH and read.default not in (False, None):
        return "is a switch with a default that is neither true nor false"
    if read.default is None and not read.required:
        return "has no default"
    if isinstance(read.default, list | tuple | dict | set | bytes | complex):
        return "its default is not a number or text"
    return ""


def _action(call: ast.Call, action: object) -> str:
    node = next((word.value for word in call.keywords if word.arg == "action"), None)
    return action if isinstance(action, str) else _name(node)


def _name_of_type(call: ast.Call) -> str:
    return _name(next((word.value for word in call.keywords if word.arg == "type"), None))


def _typed(default: object, kind: str) -> object:
    """Return a default that is text as a number, if argparse would convert it."""
    if isinstance(default, str) and kind in ("int", "float"):
        try:
            return int(default) if kind == "int" else float(default)
        except ValueError:
            return default
    return default


def _name(node: ast.expr | None) -> str:
    """Return the last part of a dotted name; an empty string for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _made(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Return each name that a mapping is assigned to, or that gets one more key, with that mapping or key."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value):
                yield name, value
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)]):
                yield name, key
            case _:
                continue


def _constants(tree: ast.Module) -> dict[str, object]:
    """Return names that are assigned once at the top level of a file, with their literal values."""
    bound: dict[str, list[ast.expr]] = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                bound.setdefault(name, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                bound.setdefault(name, []).append(value)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
                for target, value in zip(names, values, strict=True):
                    bound.setdefault(_name(target), []).append(value)
    found = {}
    for name, values in bound.items():
        try:
            found[name] = ast.literal_eval(values[0])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
    return {name: value for name, value in found.items() if len(bound[name]) == 1}
