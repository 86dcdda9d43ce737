"""What a script takes, read from its source: by argparse, or as the defaults of its trial. Nothing of it is run.

1. The script's own calls count; where it has none, those of the modules beside it that it imports.
2. What only running it would tell is not guessed: it is in `unread`, by line, or an argument says why it is left out.

Standard library only.
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
    """How a value reaches the script."""

    OPTION = "option"
    """``--name=value``."""
    SWITCH = "switch"
    """``--name``, or nothing."""
    POSITIONAL = "positional"
    """A word by itself."""
    PARAMETER = "parameter"
    """By the trial API, or as an argument of a function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a script; `left_out` says why it cannot be a parameter: the script's own default stands."""

    name: str
    kind: ArgumentKind
    default: object = None
    required: bool = False
    choices: tuple[object, ...] = ()
    help: str = ""
    left_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """All that was read of a script; `metrics` are the names that it reports, where it opens a trial."""

    arguments: tuple[Argument, ...]
    metrics: tuple[str, ...] = ()
    opens_trial: bool = False
    unread: tuple[str, ...] = ()


_UNREAD = object()
SEVERAL = ("append", "extend", "append_const", "count", "store_const")
"""Actions by which an option means more than one value."""


def arguments_of(script: Path) -> Arguments:
    """What a script takes.

    Raises:
        UsageError: it cannot be read, is no Python, has subcommands, or takes nothing that can be read.
    """
    tree = _parsed(script)
    own = _File.of(script, tree)
    files = [own] if own.takes_something else [own, *_beside(script)]
    if any(file.named("add_subparsers") for file in files):
        got = "subcommands, of which a sweep runs one"
        raise UsageError(f"{script}: expected one parser, got {got}; write a file with command: [...] by hand")
    found: dict[str, Argument] = {}
    unread: list[str] = []
    for file in files:
        for argument in file.arguments(unread):
            found[argument.name] = argument
    if not found and not unread:
        expected = "expected calls of argparse's add_argument, or sweeper.trial(defaults={...}), got none"
        raise UsageError(f"{script}: {expected}; or name a function of it, as package.module:function")
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
        raise UsageError(f"{path}: expected a script, got none that can be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UsageError(f"{path}{line}: expected Python, got: {getattr(error, 'msg', error)}") from None


def _beside(script: Path) -> Iterator[_File]:
    """The modules that the script imports from its own folder, and those that they import."""
    places = (str(script.absolute().parent),)
    waiting, seen = [SourceFile(script, places=places)], {script.absolute()}
    while waiting:
        for name in imports_of(waiting.pop(0)):
            module = name.partition(":")[0]
            found = None if is_installed(module, places) else source_of(module, places)
            if found is not None and found.file.absolute() not in seen:
                seen.add(found.file.absolute())
                waiting.append(found)
                yield _File.of(found.file, _parsed(found.file))


@dataclass(frozen=True, slots=True)
class _File:
    """A file, its calls in the order of their lines, the constants at its top, and what mappings are `made` of."""

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
        """The calls of a name, or of a method of that name."""
        return [call for call in self.calls if _name(call.func) == name]

    def metrics(self) -> Iterator[str]:
        """The names in what is handed to `report`: there, or where it was put together under a name."""
        reported = [call.args[0] for call in self.named("report") if call.args]
        names = {node.id for node in reported if isinstance(node, ast.Name)}
        for node in (*reported, *(made for name, made in self.made if name in names)):
            for key in node.keys if isinstance(node, ast.Dict) else [node]:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value

    def arguments(self, unread: list[str]) -> Iterator[Argument]:
        """Those that can be read, set_defaults included; of the others their lines, added to `unread`."""
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
            kind, default = ArgumentKind.SWITCH, False  # what its own name switches is off until it is given
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
            return replace(read, left_out="is of type bool, which takes any text for true, False too")
        return replace(read, left_out=_why_left_out(read, action, keywords, has_long=bool(long)))

    def _value(self, node: ast.expr) -> object:
        """A literal, or a constant at the top of the file; `_UNREAD` for anything else."""
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return _UNREAD


def _is_needed(keywords: Mapping[str, object]) -> bool:
    """Whether a positional argument has to be there."""
    return keywords.get("nargs") not in ("?", "*")


def _why_left_out(read: Argument, action: str, keywords: Mapping[str, object], *, has_long: bool) -> str:
    """Why an argument cannot be a parameter of a sweep; empty where it can."""
    if action in ("help", "version"):
        return "says something, and trains nothing"
    if action in SEVERAL or keywords.get("nargs") not in (None, "?"):
        return "takes several words, or none: write them in command"
    if action not in ("store", "store_true", "store_false", "BooleanOptionalAction"):
        return f"its action {action} is the script's own"
    if read.kind is not ArgumentKind.POSITIONAL and not has_long:
        return f"has only the short form -{read.name}: write it in command"
    if read.default is _UNREAD:
        return "its default is made when the script runs"
    if read.kind is ArgumentKind.SWITCH and read.default is True:
        return "is on by default, and a switch can only be given, not taken back"
    if read.kind is ArgumentKind.SWITCH and read.default not in (False, None):
        return "is a switch with a default of its own"
    if read.default is None and not read.required:
        return "has no default"
    if isinstance(read.default, list | tuple | dict | set | bytes | complex):
        return "its default is no single value"
    return ""


def _action(call: ast.Call, action: object) -> str:
    node = next((word.value for word in call.keywords if word.arg == "action"), None)
    return action if isinstance(action, str) else _name(node)


def _name_of_type(call: ast.Call) -> str:
    return _name(next((word.value for word in call.keywords if word.arg == "type"), None))


def _typed(default: object, kind: str) -> object:
    """A default that is text, as the number that argparse makes of it."""
    if isinstance(default, str) and kind in ("int", "float"):
        try:
            return int(default) if kind == "int" else float(default)
        except ValueError:
            return default
    return default


def _name(node: ast.expr | None) -> str:
    """The last part of a dotted name; empty for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _made(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Each name that is bound to a mapping, or given one key more, with that mapping or key."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value):
                yield name, value
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=key)]):
                yield name, key
            case _:
                continue


def _constants(tree: ast.Module) -> dict[str, object]:
    """Names that are bound once at the top of a file, to a literal."""
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
