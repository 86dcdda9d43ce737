"""Follow the parsers of argparse through the code: groups, subparsers, parents, helper functions and modules."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.preflight.arguments.model import Argument
from sweeper.preflight.arguments.script import Definition, Module, Script, is_main_guard
from sweeper.preflight.arguments.values import dotted, name_of

NEW = ("ArgumentParser", "ArgParser", "LightningArgumentParser", "FlexibleArgumentParser")
SAME = ("add_argument_group", "add_mutually_exclusive_group")

Reader = Callable[[ast.Call, Mapping[str, object], Script, Module], Argument | None]


@dataclass(eq=False)
class Parser:
    """A parser of the script.

    Attributes:
        words: the subcommands that lead to it; empty for a parser without one.
        parents: the parsers that it takes arguments over from.
        arguments: the arguments that could be read.
        unread: those that could not.
    """

    words: tuple[str, ...] = ()
    parents: list[Parser] = field(default_factory=list)
    arguments: list[Argument] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def parsers_of(script: Script, reader: Reader) -> list[Parser]:
    """Return the parsers of a script; the first has the arguments of parsers that could not be followed.

    Args:
        script: the script.
        reader: return the argument that a call of `add_argument` declares, or None.
    """
    walk = _Walk(script, reader)
    walk.module(script.own, skipped=False)
    for module in script.modules:
        walk.left_over(module, only_reached=module is not script.own)
    for module in script.modules[1:]:
        walk.module(module, skipped=True)
    if not walk.found_something and not script.own_only:
        for module in script.modules[1:]:
            walk.left_over(module, only_reached=False)
    return walk.parsers


_Environment = dict[str, tuple[Parser, ...]]


class _Walk:
    """Follow the parsers through the code, in the order in which it would run."""

    def __init__(self, script: Script, reader: Reader) -> None:
        self.script = script
        self.reader = reader
        self.unknown = Parser()
        self.parsers = [self.unknown]
        self.made: dict[int, Parser] = {}
        self.visited: set[tuple[int, ...]] = set()
        self.entered: set[int] = set()
        self.returned: dict[int, tuple[Parser, ...]] = {}
        self.defaults: dict[str, object] = {}
        self.depth = 0
        for module, call in script.calls("set_defaults"):
            self.defaults |= {word.arg: script.value(word.value, module) for word in call.keywords if word.arg}

    @property
    def found_something(self) -> bool:
        return any(parser.arguments or parser.unread for parser in self.parsers)

    def module(self, module: Module, *, skipped: bool) -> None:
        """Follow the top level of a module; `skipped` leaves its `__main__` block out."""
        self.body([one for one in module.tree.body if not (skipped and is_main_guard(one))], {}, module, None)

    def left_over(self, module: Module, *, only_reached: bool) -> None:
        """Follow the functions that were not called with a parser that is known."""
        for node in module.nodes:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or id(node) in self.entered:
                continue
            if not only_reached or id(node) in self.script.reached:
                self.function(node, {}, module)

    def function(self, node: Definition, environment: _Environment, module: Module) -> None:
        key = (id(node), *(id(parser) for parsers in environment.values() for parser in parsers))
        if key not in self.visited and self.depth < 50:  # noqa: PLR2004 - no parser is passed on that often
            self.visited.add(key)
            self.entered.add(id(node))
            self.depth += 1
            self.body(node.body, dict(environment), module, node)
            self.depth -= 1

    def body(
        self, body: Sequence[ast.stmt], environment: _Environment, module: Module, inside: Definition | None
    ) -> None:
        for statement in body:
            if isinstance(statement, Definition):
                continue
            for expression in _expressions(statement):
                for call in _calls(expression):
                    self.call(call, environment, module)
            match statement:
                case (
                    ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value)
                ):
                    if owners := self.owners(value, environment, module):
                        environment[dotted(target)] = owners
                case ast.For(target=target, iter=ast.Tuple(elts=items) | ast.List(elts=items)):
                    found = tuple(one for item in items for one in self.owners(item, environment, module))
                    environment |= {dotted(target): found} if found else {}
                case ast.Return(value=ast.expr() as value) if inside is not None:
                    self.returned[id(inside)] = self.owners(value, environment, module)
            for inner in _bodies(statement):
                self.body(inner, environment, module, inside)

    def owners(self, node: ast.expr, environment: _Environment, module: Module) -> tuple[Parser, ...]:
        """Return the parsers that an expression stands for."""
        if not isinstance(node, ast.Call):
            return environment.get(dotted(node), ())
        name = name_of(node.func)
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name in NEW:
            return (self.new(node, (), environment, module),)
        if name in (*SAME, "add_subparsers") and base is not None:
            return self.owners(base, environment, module) or (self.unknown,)
        if name == "add_parser" and base is not None and node.args:
            word = self.script.value(node.args[0], module)
            above = next(iter(self.owners(base, environment, module)), self.unknown)
            return (self.new(node, (*above.words, str(word)), environment, module),) if isinstance(word, str) else ()
        found = self.script.definition(name, module)
        return self.returned.get(id(found[1]), ()) if found is not None else ()

    def new(self, call: ast.Call, words: tuple[str, ...], environment: _Environment, module: Module) -> Parser:
        if id(call) not in self.made:
            given = [word.value for word in call.keywords if word.arg == "parents"]
            items = [item for node in given for item in getattr(node, "elts", ())]
            parents = [one for item in items for one in self.owners(item, environment, module)]
            self.made[id(call)] = Parser(words, parents)
            self.parsers.append(self.made[id(call)])
        return self.made[id(call)]

    def call(self, call: ast.Call, environment: _Environment, module: Module) -> None:
        if name_of(call.func) == "add_argument" and isinstance(call.func, ast.Attribute):
            for parser in self.owners(call.func.value, environment, module) or (self.unknown,):
                argument = self.reader(call, self.defaults, self.script, module)
                if argument is not None:
                    parser.arguments.append(argument)
                elif module.where(call) not in parser.unread:
                    parser.unread.append(module.where(call))
            return
        found = self.script.definition(name_of(call.func), module)
        if found is None or not isinstance(found[1], ast.FunctionDef | ast.AsyncFunctionDef):
            return
        names = [one.arg for one in (*found[1].args.posonlyargs, *found[1].args.args)]
        given = [*zip(names, call.args, strict=False), *((word.arg or "", word.value) for word in call.keywords)]
        passed: _Environment = {
            name: owners for name, node in given if (owners := self.owners(node, environment, module))
        }
        self.function(found[1], passed, found[0])


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Return the parts of a statement that are no statements themselves."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child


def _bodies(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        inner = getattr(statement, name, [])
        if isinstance(inner, list) and inner:
            yield inner
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _calls(node: ast.AST) -> list[ast.Call]:
    """Return the calls in an expression; the inner ones, which run first, come first."""
    inner = [call for child in ast.iter_child_nodes(node) for call in _calls(child)]
    return [*inner, node] if isinstance(node, ast.Call) else inner
