"""Find the source files of a Python program and their imports, by reading them, without running any of the code."""

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
    """A Python source file.

    Attributes:
        file: the path of the file.
        package: the package that its relative imports start from.
        search_path: folders that are searched before `sys.path`, as by the program: the script's folder, or the current
            one.
    """

    file: Path
    package: str = ""
    search_path: tuple[str, ...] = ()


def source_of(module: str, search_path: Sequence[str] = ()) -> SourceFile | None:
    """Return the source file of a module; None if there is no such module, or if it has no Python source."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    file, folders = _in([*search_path, *sys.path], parts[0])
    if file is None and not folders:
        file, folders = _by_finders(parts[0])
    for part in parts[1:]:
        file, folders = _in(folders, part)
    if file is None:
        return None
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    return SourceFile(file, package, tuple(search_path))


def _in(folders: Sequence[str], name: str) -> tuple[Path | None, list[str]]:
    """Return the file of a module in the first folder that has one, and the folders of its submodules."""
    portions = []  # the folders of a namespace package
    for folder in folders:
        package = Path(folder or os.curdir, name)
        if (init := package / "__init__.py").is_file():
            return init, [str(package)]
        if (file := Path(folder or os.curdir, f"{name}.py")).is_file():
            return file, []
        if package.is_dir():
            portions.append(str(package))
    return None, portions


def _by_finders(name: str) -> tuple[Path | None, list[str]]:
    """Return the same for a module that only Python's finders can locate, such as one of an editable installation."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None, []
    if spec is None:
        return None, []
    file = Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
    return file, list(spec.submodule_search_locations or ())


def imports_of(source: SourceFile) -> list[str]:
    """Return the modules that a file imports anywhere, and `module:name` for names; nothing if it cannot be read."""
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
    """Return the absolute name of the module in `from ... import`; empty if a relative one leaves the package."""
    if not node.level:
        return node.module or ""
    parents = package.split(".") if package else []
    kept = parents[: len(parents) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])]) if kept else ""


def all_imports(sources: Sequence[SourceFile]) -> list[str]:
    """Return all imports of the files, and of the modules that they import and that are not installed.

    The built-in trainers are followed too, because they import large packages inside functions. For a script that uses
    `sweeper` and `torch`, the result includes the watch.
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
            if module.startswith(f"{TRAINERS}.") or not is_installed(module, source.search_path):
                # The import of a.b also imports a.
                parts = module.split(".")
                parents = [".".join(parts[: count + 1]) for count in range(len(parts))]
                waiting += [found for parent in parents if (found := source_of(parent, source.search_path)) is not None]
    if {OWN, "torch"} <= names.keys():
        names["sweeper.worker.watch.watch"] = None
    return list(names)


def is_installed(module: str, search_path: Sequence[str] = ()) -> bool:
    """Return whether a module belongs to Python, to sweeper, or to an installed package; False if it does not exist."""
    root = module.partition(".")[0]
    if root == OWN or root in sys.stdlib_module_names:
        return True
    file, folders = _in([*search_path, *sys.path], root)
    where = str(file) if file is not None else next(iter(folders), "") or _origin(root)
    return any(where.startswith(f"{folder}{os.sep}") for folder in sys.path if Path(folder).name in PACKAGES)


def _origin(root: str) -> str:
    """Return the path of a module that is not a Python file, such as an extension; empty if there is none."""
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return ""
    return "" if spec is None else spec.origin or ""
