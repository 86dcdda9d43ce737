"""A script and the modules beside it, parsed; nothing is run.

1. Names are looked up in the module that uses them, then in the modules beside the script.
2. The code of a module counts where the script reaches it: at its top level, or in a function that something reached
   names. What stands under `if __name__ == "__main__":` of another module does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sweeper.preflight.arguments.model import UNREAD, Member
from sweeper.preflight.arguments.values import dotted, name_of, value_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
TORCH = frozenset({"torch", "lightning", "pytorch_lightning", "transformers", "accelerate", "timm", "torchvision"})
"""Libraries that import torch."""


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed file.

    Attributes:
        path: the path of the file.
        tree: its syntax tree.
        imported: the names that it imports, with the module and name that each stands for.
    """

    path: Path
    tree: ast.Module
    imported: Mapping[str, str]

    @cached_property
    def nodes(self) -> Sequence[ast.AST]:
        """All nodes of the syntax tree."""
        return list(ast.walk(self.tree))

    @cached_property
    def definitions(self) -> Mapping[str, Definition]:
        """The functions and classes of the file by name; methods are not among them."""
        nodes = [node for node in self.nodes if isinstance(node, Definition)]
        classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        methods = {id(inner) for node in classes for inner in node.body if not isinstance(inner, ast.ClassDef)}
        found: dict[str, Definition] = {}
        for node in nodes:
            if id(node) not in methods:
                found.setdefault(node.name, node)  # those at the top level come first
        return found

    @cached_property
    def calls(self) -> Sequence[ast.Call]:
        """All calls, in the order of their lines."""
        return calls_in(self.nodes)

    @cached_property
    def bound(self) -> Mapping[str, list[ast.expr]]:
        """The expressions that are assigned to names at the top level of the file."""
        found: dict[str, list[ast.expr]] = {}
        for statement in self.tree.body:
            for name, value in _assigned(statement):
                found.setdefault(name, []).append(value)
        return found

    @cached_property
    def assigned(self) -> Mapping[str, list[ast.expr]]:
        """The expressions that are assigned to names anywhere in the file."""
        found: dict[str, list[ast.expr]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for name, value in _assigned(node):
                    found.setdefault(name, []).append(value)
        return found

    def resolved(self, node: ast.expr | None) -> ast.expr | None:
        """Return the expression that a name stands for, if it is assigned once; any other expression as it is."""
        values = self.assigned.get(node.id, ()) if isinstance(node, ast.Name) else ()
        return values[0] if len(values) == 1 else node

    def where(self, node: ast.AST) -> str:
        """Return `file:line: code` for a message."""
        return f"{self.path}:{getattr(node, 'lineno', 0)}: {' '.join(ast.unparse(node).split())[:100]}"


@dataclass(frozen=True, eq=False)
class Script:
    """A script with the modules of its folder that it imports.

    Attributes:
        modules: the script itself, and then the others.
        given: the values that the user gave for arguments, as text.
        module_name: the name by which `python -m` has to start it, because it has relative imports; empty otherwise.
        root: the folder that is searched for the modules beside it.
        own_only: whether `calls` and `functions` are those of the script itself, without the modules beside it.
    """

    modules: Sequence[Module]
    given: Mapping[str, str] = field(default_factory=dict)
    module_name: str = ""
    root: Path = Path()
    own_only: bool = False

    @property
    def own(self) -> Module:
        """The script itself."""
        return self.modules[0]

    @property
    def folder(self) -> Path:
        """The folder of the script."""
        return self.own.path.parent

    @property
    def places(self) -> Sequence[Module]:
        """The modules in which a family looks for its calls."""
        return self.modules[:1] if self.own_only else self.modules

    def imports(self, *libraries: str) -> bool:
        """Return whether the script, or a module beside it, imports one of the libraries."""
        named = {name.partition(".")[0] for module in self.modules for name in module.imported.values()}
        return any(library in named for library in libraries)

    def imports_name(self, path: str) -> bool:
        """Return whether a module imports a name from a package, or the package itself."""
        return any(name.startswith(path) for module in self.modules for name in module.imported.values())

    def calls(self, *names: str, libraries: Sequence[str] = ()) -> Iterator[tuple[Module, ast.Call]]:
        """Return the calls of functions with one of the names, those of the script first.

        Args:
            *names: last parts of the names of functions or methods.
            libraries: the libraries that the function must come from; by default, any.
        """
        for module in self.places:
            for call in module.calls:
                if name_of(call.func) in names and (not libraries or self.origin(call.func, module) in libraries):
                    yield module, call

    def origin(self, node: ast.expr, module: Module) -> str:
        """Return the library that a dotted name comes from; empty if it is not imported."""
        path = dotted(node if not isinstance(node, ast.Call) else node.func)
        return module.imported.get(path.partition(".")[0], "").partition(".")[0]

    def definition(self, name: str, module: Module) -> tuple[Module, Definition] | None:
        """Return the function or class of a name, and its module; None if the modules here do not define it."""
        if name in module.definitions:
            return module, module.definitions[name]
        imported = module.imported.get(name, "")
        if imported and imported.partition(".")[0] not in self.beside:
            return None  # it comes from a library, whatever else has this name
        original = imported.rpartition(".")[2] or name
        return next(((one, one.definitions[original]) for one in self.modules if original in one.definitions), None)

    @cached_property
    def beside(self) -> frozenset[str]:
        """The first parts of the names of the modules beside the script; an empty one, as relative imports have."""
        paths = [module.path.absolute() for module in self.modules]
        inside = [path.relative_to(self.root).parts[0] for path in paths if path.is_relative_to(self.root)]
        return frozenset({"", *(part.removesuffix(".py") for part in inside), *(path.stem for path in paths)})

    def value(self, node: ast.expr | None, module: Module) -> object:
        """Return the value of an expression in a module, or `UNREAD`."""
        return value_of(node, lambda path: self._looked_up(path, module, set()))

    def _looked_up(self, path: str, module: Module, seen: set[tuple[Path, str]]) -> object:
        name, _, attribute = path.partition(".")
        if (module.path, path) in seen:
            return UNREAD
        seen = seen | {(module.path, path)}
        if not attribute and len(module.bound.get(name, ())) == 1:
            return value_of(module.bound[name][0], lambda inner: self._looked_up(inner, module, seen))
        if attribute and (member := self._member(name, attribute, module)) is not UNREAD:
            return member
        if name in module.imported:
            last = attribute or module.imported[name].rpartition(".")[2]
            for other in self.modules[1:]:
                if other is not module and len(other.bound.get(last, ())) == 1:
                    return self._looked_up(last, other, seen)
        return UNREAD

    def _member(self, name: str, attribute: str, module: Module) -> object:
        """Return a member of an enumeration, or its value for `Kind.ADAM.value`."""
        member, _, part = attribute.partition(".")
        members = {one.name: one for one in self.members(name, module)}
        if member not in members:
            return UNREAD
        return members[member] if not part else getattr(members[member], part) if part in ("name", "value") else UNREAD

    def members(self, name: str, module: Module) -> list[Member]:
        """Return the members of an enumeration; none if it is no enumeration."""
        found = self.definition(name, module)
        if found is None or not isinstance(found[1], ast.ClassDef):
            return []
        if not any(name_of(base).endswith("Enum") for base in found[1].bases):
            return []
        pairs = [pair for statement in found[1].body for pair in _assigned(statement)]
        read = [(name, self.value(value, found[0])) for name, value in pairs if not name.startswith("_")]
        return [Member(name=name, value=name.lower() if value is UNREAD else value) for name, value in read]

    @cached_property
    def reached(self) -> frozenset[int]:
        """The identities of all functions, of any module, that code reached by the script names."""
        seen: set[int] = set()
        waiting: list[tuple[Module, ast.AST]] = []
        for index, module in enumerate(self.modules):
            for statement in module.tree.body:
                counts = not isinstance(statement, Definition) and (index == 0 or not is_main_guard(statement))
                waiting += [(module, statement)] if counts else []
        waiting += [(self.own, decorated) for decorated in self.own.definitions.values() if decorated.decorator_list]
        methods = self._methods()
        while waiting:
            module, node = waiting.pop()
            if isinstance(node, Definition):
                if id(node) in seen:
                    continue
                seen.add(id(node))
                seen |= {id(inner) for inner in node.body}  # the walk below covers the methods of a class
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name | ast.Attribute) and isinstance(inner.ctx, ast.Load):
                    found = self.definition(name_of(inner), module)
                    waiting += [found] if found is not None else []
                    if isinstance(inner, ast.Attribute):
                        waiting += methods.get(inner.attr, ())
        return frozenset(seen)

    def _methods(self) -> Mapping[str, list[tuple[Module, ast.AST]]]:
        found: dict[str, list[tuple[Module, ast.AST]]] = {}
        for module in self.modules:
            for node in module.nodes:
                for inner in node.body if isinstance(node, ast.ClassDef) else ():
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        found.setdefault(inner.name, []).append((module, inner))
        return found


def calls_in(nodes: Iterable[ast.AST]) -> list[ast.Call]:
    """Return the calls among nodes, in the order of their lines."""
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def is_main_guard(statement: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__":`."""
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match statement:
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            for target, value in zip(names, values, strict=True):
                if isinstance(target, ast.Name):
                    yield target.id, value
        case ast.Assign(targets=targets, value=value):
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case _:
            return
