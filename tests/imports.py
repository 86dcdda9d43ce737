"""Which module imports which, read from the source; shared by the test of directions and ``docs/diagram.py``."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "sweeper"
ROOT = Path(__file__).parents[1]

API = PACKAGE
"""The room of ``sweeper/__init__.py``: what a training script imports."""

ALLOWED: Mapping[str, frozenset[str]] = {
    "cli": frozenset(
        {
            "agent",
            "ui",
            "service",
            "preflight",
            "orchestrator",
            "backtest",
            "search",
            "executors",
            "views",
            "results",
            "config",
            "rules",
            "trainers",
            "record",
            "errors",
            API,
        }
    ),
    "agent": frozenset({"service", "preflight", "executors", "results", "config", "record", "errors", API}),
    "ui": frozenset({"service", "views", "results", "record", "errors", API}),
    "service": frozenset(
        {
            "preflight",
            "orchestrator",
            "search",
            "executors",
            "results",
            "config",
            "rules",
            "mistakes",
            "trainers",
            "record",
            "errors",
        }
    ),
    "preflight": frozenset(
        {
            "orchestrator",
            "backtest",
            "search",
            "executors",
            "results",
            "config",
            "rules",
            "mistakes",
            "trainers",
            "integrations",
            "worker",
            "record",
            "errors",
        }
    ),
    "orchestrator": frozenset(
        {"backtest", "search", "executors", "results", "config", "rules", "trainers", "record", "errors"}
    ),
    "backtest": frozenset({"search", "views", "results", "config", "rules", "record", "errors"}),
    "search": frozenset({"config", "record", "errors"}),
    "executors": frozenset({"config", "mistakes", "record", "errors"}),
    "views": frozenset({"results", "config", "rules", "record", "errors"}),
    "results": frozenset({"config", "rules", "record", "errors"}),
    "trainers": frozenset({API, "worker", "record", "errors"}),
    "auto": frozenset({"integrations", "worker", "record", "errors"}),
    "integrations": frozenset({API, "worker", "record", "errors"}),
    API: frozenset({"worker", "errors"}),
    "worker": frozenset({"record", "errors"}),
    "config": frozenset({"rules", "mistakes", "errors"}),
    "rules": frozenset({"mistakes", "record", "errors"}),
    "mistakes": frozenset(),
    "record": frozenset({"errors"}),
    "errors": frozenset(),
}
"""Every room, and the rooms that it may import, from the top of the house down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """That one module imports another, and whether it does so as soon as it is imported itself."""

    importer: str
    imported: str
    line: int
    at_once: bool
    for_types: bool
    """Under ``if TYPE_CHECKING``: never executed."""


def room(module: str) -> str:
    """The room a module of the package is in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else API


def is_ours(module: str) -> bool:
    """Whether the module belongs to the package."""
    return module.split(".", maxsplit=1)[0] == PACKAGE


def is_third_party(module: str) -> bool:
    """Whether the module comes neither with Python nor with the package."""
    return not is_ours(module) and module.split(".", maxsplit=1)[0] not in sys.stdlib_module_names


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the package and its file."""
    return {_name(path.relative_to(root)): path for path in sorted((root / PACKAGE).rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(sources: Mapping[str, Path]) -> list[Import]:
    """Every import statement in the modules."""
    return [
        found
        for module, path in sources.items()
        for found in imports_of(module, ast.parse(path.read_text("utf-8")), sources, is_package=path.stem == "__init__")
    ]


def imports_of(module: str, tree: ast.Module, known: Iterable[str], *, is_package: bool = False) -> Iterator[Import]:
    """The imports of one module; ``from package import module`` counts as the import of that module."""
    names = frozenset(known)
    package = module if is_package else module.rpartition(".")[0]
    for node, at_once, for_types in _statements(tree.body, at_once=True, for_types=False):
        for imported in _targets(node, package, names):
            yield Import(importer=module, imported=imported, line=node.lineno, at_once=at_once, for_types=for_types)


def _statements(
    body: Iterable[ast.AST], *, at_once: bool, for_types: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, at_once, for_types
            continue
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _statements(node.body, at_once=False, for_types=True)
            yield from _statements(node.orelse, at_once=at_once, for_types=for_types)
        else:
            yield from _statements(ast.iter_child_nodes(node), at_once=at_once and not inside, for_types=for_types)


def _targets(node: ast.Import | ast.ImportFrom, package: str, known: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    source = ".".join([*parent, *([node.module] if node.module else [])])
    for alias in node.names:
        submodule = f"{source}.{alias.name}"
        yield submodule if submodule in known else source


def loaded_with(module: str, found: Iterable[Import]) -> frozenset[str]:
    """Every module that importing ``module`` imports, those of the package followed further."""
    at_once: dict[str, set[str]] = {}
    for edge in found:
        if edge.at_once:
            at_once.setdefault(edge.importer, set()).add(edge.imported)
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            # Importing a.b.c imports a and a.b as well.
            waiting += [*at_once.get(current, ()), *([current.rpartition(".")[0]] if "." in current else [])]
    return frozenset(reached)


def edges(found: Iterable[Import]) -> frozenset[tuple[str, str]]:
    """The pairs of different rooms of which the first imports the second."""
    pairs = ((room(edge.importer), room(edge.imported)) for edge in found if is_ours(edge.imported))
    return frozenset((importer, imported) for importer, imported in pairs if importer != imported)
