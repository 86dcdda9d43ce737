"""Find programs, scripts and modules of a command that are not there, and what was probably meant."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from sweeper.config import Complaint
from sweeper.mistakes import shown, suggested
from sweeper.preflight.command.interpreter import is_this
from sweeper.preflight.command.program import Program, Word, located_executable
from sweeper.worker.process.sources import source_of

MOST_FILES = 2_000
"""Files that are compared with a wrong name."""


def complaints_about_places(program: Program, environment: Mapping[str, str]) -> Iterator[Complaint]:
    """Find what is not there: the executable, the script, or the module of a Python that runs sweeper too."""
    if (word := program.executable) is not None and word.text is not None:
        yield from _executable(word, word.text, program, environment)
    if (word := program.script) is not None and word.text is not None:
        yield from _script(word, word.text)
    if (word := program.module) is not None and word.text is not None and _is_this(program, environment):
        yield from _module(word, word.text)


def _is_this(program: Program, environment: Mapping[str, str]) -> bool:
    return program.executable is not None and is_this(program.executable.text or "", environment)


def _executable(word: Word, name: str, program: Program, environment: Mapping[str, str]) -> Iterator[Complaint]:
    found = located_executable(name, environment)
    if found is not None and os.access(found, os.X_OK):
        return
    if found is not None:
        by = "python" if name.endswith(".py") else "bash"
        hint = f"make it executable (chmod +x {name}), or start it by its interpreter: [{by}, {name}, ...]"
        yield Complaint(path=word.place, expected="a program", got=f"{shown(name)}, which is not executable", hint=hint)
        return
    if program.is_python and os.sep not in name:
        hint = 'write "${interpreter}" for the Python that runs sweeper'
    elif os.sep not in name and Path(name).is_file():
        hint = f"write ./{name}"
    else:
        hint = _near_file(name) if os.sep in name else suggested(name, _in_path(environment))
    where = "which does not exist" if os.sep in name else "which is not in PATH"
    yield Complaint(path=word.place, expected="a program", got=f"{shown(name)}, {where}", hint=hint)


def _script(word: Word, name: str) -> Iterator[Complaint]:
    path = Path(name)
    if not path.exists():
        got = f"{shown(name)}, which does not exist"
        yield Complaint(path=word.place, expected="a script", got=got, hint=_near_file(name))
    elif path.is_dir() and not (path / "__main__.py").is_file():
        got = f"{shown(name)}, a directory without __main__.py"
        yield Complaint(path=word.place, expected="a script", got=got)


def _module(word: Word, name: str) -> Iterator[Complaint]:
    here = (str(Path.cwd()),)
    top = name.partition(".")[0]
    try:
        is_found = source_of(name, here) is not None or source_of(f"{name}.__main__", here) is not None
        # A compiled module has no source: only its package is looked for, since finding more would run it.
        is_found = is_found or (source_of(top, here) is None and importlib.util.find_spec(top) is not None)
    except (ImportError, ValueError):
        is_found = False
    if not is_found:
        modules = [".".join(Path(file).with_suffix("").parts) for file in _files(".py")]
        hint = suggested(name, modules) or f"modules are looked for in {here[0]} and among the installed packages"
        yield Complaint(path=word.place, expected="a module", got=f"{shown(name)}, which does not exist", hint=hint)


def _near_file(name: str) -> str:
    """Return ``did you mean ...?`` with a similar file, or the file of the same name in another folder."""
    files = list(_files(Path(name).suffix))
    same = next((file for file in files if Path(file).name == Path(name).name), "")
    hint = f"did you mean {same}?" if same else suggested(os.path.normpath(name), files)
    return hint or f"paths are relative to {Path.cwd()}, where sweeper runs"


def _files(suffix: str) -> Iterator[str]:
    """Yield the files with an ending here and up to two folders below, without hidden ones."""
    here = Path.cwd()
    found = (path for depth in ("*", "*/*", "*/*/*") for path in here.glob(f"{depth}{suffix}"))
    seen = (path.relative_to(here) for path in islice(found, MOST_FILES) if path.suffix == suffix and path.is_file())
    return (str(path) for path in seen if not any(part.startswith(".") for part in path.parts))


def _in_path(environment: Mapping[str, str]) -> Iterator[str]:
    for folder in environment.get("PATH", "").split(os.pathsep):
        try:
            yield from islice(os.listdir(folder), MOST_FILES)  # noqa: PTH208 - names alone
        except OSError:
            continue
