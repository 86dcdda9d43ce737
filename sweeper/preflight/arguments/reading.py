"""Read and parse a script and the modules beside it. A path that is no script gets an error that says what to do."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from sweeper.errors import UsageError
from sweeper.mistakes import suggested
from sweeper.preflight.arguments.script import Module, Script
from sweeper.worker.process.sources import SourceFile, imports_of, is_installed, source_of

MOST_MODULES = 200
"""Modules beside the script that are read at most; a script that needs more is read in part."""
CONFIGS = (".yaml", ".yml", ".json", ".toml")
"""Endings of configuration files."""


def script_of(path: Path, given: Mapping[str, str]) -> Script:
    """Parse a script and the modules that it imports from its own folder, directly or indirectly.

    Raises:
        UsageError: the script cannot be read, or is not Python.
    """
    _refuse_other_files(path)
    modules = [_module(path, _parsed(path))]
    root, module_name = _place(path.absolute(), modules[0].tree)
    search_path = (str(root),)
    waiting = [SourceFile(path, package=module_name.rpartition(".")[0], search_path=search_path)]
    seen = {path.absolute()}
    while waiting and len(modules) < MOST_MODULES:
        for name in imports_of(waiting.pop(0)):
            for module in dict.fromkeys((name.partition(":")[0], name.replace(":", "."))):
                found = None if is_installed(module, search_path) else source_of(module, search_path)
                if found is not None and found.file.absolute() not in seen:
                    seen.add(found.file.absolute())
                    waiting.append(found)
                    modules += [_module(found.file, tree) for tree in _parsed_if_python(found.file)]
    return Script(modules, given, module_name=module_name, root=root)


def _place(path: Path, tree: ast.Module) -> tuple[Path, str]:
    """Return the folder that a script is started from, and the name of its module if `python -m` has to start it.

    A script has to be started by its name if it has relative imports. Its package then reaches up to the last folder
    with an `__init__.py`, and at least as far as these imports.
    """
    above = max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)
    if not above:
        return path.parent, ""
    root, parts = path.parent, [path.stem]
    while root != root.parent and (len(parts) <= above or (root / "__init__.py").is_file()):
        root, parts = root.parent, [root.name, *parts]
    return root, ".".join(parts)


def _module(path: Path, tree: ast.Module) -> Module:
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{'.' * node.level}{node.module or ''}.{alias.name}"
    return Module(path, tree, imported)


def _refuse_other_files(path: Path) -> None:
    """Raise for a path that is no Python script, with what to do instead."""
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.py"))
        has = f"it has {', '.join(inside[:5])}" if inside else "it has no Python file"
        raise UsageError(f"{path}: expected a script, got a directory; {has}")
    if not path.exists() and path.parent.is_dir():
        hint = suggested(path.name, [file.name for file in path.parent.glob("*.py")])
        raise UsageError(f"{path}: the script cannot be read: No such file or directory; {hint}".rstrip("; "))
    if path.suffix == ".ipynb":
        convert = f"convert it with `jupyter nbconvert --to script {path}`, and give its values as arguments"
        raise UsageError(f"{path}: expected a Python script, got a notebook; {convert}")
    if path.suffix in CONFIGS:
        raise UsageError(f"{path}: expected a Python script, got a {path.suffix[1:].upper()} file")
    if path.suffix in (".sh", ".bash", ".zsh", ".slurm", ".sbatch"):
        names = re.findall(r"[\w./-]+\.py\b", path.read_text(encoding="utf-8", errors="replace"))
        start = f"It starts {names[0]}: try `sweeper init {names[0]}`, or write" if names else "Write"
        how = f'{start} a sweep file with `command: [bash, {path}, "${{args}}"]`'
        raise UsageError(f"{path}: expected a Python script, got a shell script. {how}")


def _parsed(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in the script is none of this command's output
            return ast.parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: the script cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UsageError(f"{path}{line}: expected Python, got: {getattr(error, 'msg', error)}") from None
    except (RecursionError, MemoryError):
        raise UsageError(f"{path}: expected Python, got an expression that is nested too deeply") from None


def _parsed_if_python(path: Path) -> Iterator[ast.Module]:
    """Return the tree of a module beside the script; nothing for one that does not parse, since it may be unused."""
    try:
        yield _parsed(path)
    except UsageError:
        return
