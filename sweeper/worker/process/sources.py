"""Where the source of a Python program lies, and what it imports: read, never imported, so that nothing of it runs."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OWN, TRAINERS = "sweeper", "sweeper.trainers"
PACKAGES = ("site-packages", "dist-packages")
"""The names of the folders that packages are installed in."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of Python.

    Attributes:
        package: what its relative imports are relative to.
        places: where its modules are looked for first, as its program does: the script's folder, or the current one.
    """

    file: Path
    package: str = ""
    places: tuple[str, ...] = ()


def source_of(module: str, places: Sequence[str] = ()) -> SourceFile | None:
    """The source that importing a module would read; None where there is none: no such module, or one without any."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    file, here = _in([*places, *sys.path], parts[0])
    if file is None and not here:
        file, here = _by_finders(parts[0])
    for part in parts[1:]:
        file, here = _in(here, part)
    if file is None:
        return None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return SourceFile(file, package, tuple(places))


def _in(places: Sequence[str], name: str) -> tuple[Path | None, list[str]]:
    """The file of a module in the first place that has one, and where its own modules lie."""
    portions = []  # of a package without a file
    for place in places:
        package = Path(place or os.curdir, name)
        if (init := package / "__init__.py").is_file():
            return init, [str(package)]
        if (file := Path(place or os.curdir, f"{name}.py")).is_file():
            return file, []
        if package.is_dir():
            portions.append(str(package))
    return None, portions


def _by_finders(name: str) -> tuple[Path | None, list[str]]:
    """The same of a module that only Python's finders know: one installed to be edited, for example."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None, []
    if spec is None:
        return None, []
    file = Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
    return file, list(spec.submodule_search_locations or ())


def imports_of(source: SourceFile) -> list[str]:
    """The modules that a file imports, anywhere in it, and `module:name` for names; none where it cannot be read."""
    try:
        tree = ast.parse(source.file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (module := imported_from(node, source.package)):
            found[module] = None
            found |= dict.fromkeys(f"{module}:{alias.name}" for alias in node.names)
    return list(found)


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The module that `from ... import` names, by its whole name; empty where a relative one leads nowhere."""
    if not node.level:
        return node.module or ""
    parents = package.split(".") if package else []
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])]) if kept else ""


def all_imports(sources: Sequence[SourceFile]) -> list[str]:
    """What files import, what the modules that are not installed import in their turn, and what `Trial.watch` does.

    The built-in trainers are followed likewise: they import what is heavy inside functions.
    """
    names: dict[str, None] = {}
    read: set[Path] = set()
    waiting = list(sources)
    while waiting:
        source = waiting.pop(0)
        if source.file in read:
            continue
        read.add(source.file)
        for name in imports_of(source):
            names[name] = None
            module = name.replace(":", ".")
            if module.startswith(f"{TRAINERS}.") or not is_installed(module, source.places):
                # Who imports a.b imports a, too.
                parts = module.split(".")
                parents = [".".join(parts[: count + 1]) for count in range(len(parts))]
                waiting += [found for parent in parents if (found := source_of(parent, source.places)) is not None]
    if {OWN, "torch"} <= names.keys():
        names["sweeper.worker.watch.watch"] = None
    return list(names)


def is_installed(module: str, places: Sequence[str] = ()) -> bool:
    """Whether a module comes with Python, with this package, or from where packages are installed.

    False too where there is no such module.
    """
    root = module.partition(".")[0]
    if root == OWN or root in sys.stdlib_module_names:
        return True
    file, here = _in([*places, *sys.path], root)
    where = str(file) if file is not None else next(iter(here), "") or _origin(root)
    return any(where.startswith(f"{place}{os.sep}") for place in sys.path if Path(place).name in PACKAGES)


def _origin(root: str) -> str:
    """Where a module lies that is no file of Python; empty where there is none."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return ""
    return "" if spec is None else spec.origin or ""
