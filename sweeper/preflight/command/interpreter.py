"""Find packages that a script imports at its top level and that the Python which runs it does not have."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from sweeper.config import Remark
from sweeper.mistakes import listed, printable
from sweeper.preflight.command.program import Program, located_executable
from sweeper.preflight.command.texts import Texts
from sweeper.worker.process.sources import SourceFile, source_of

MOST_SECONDS = 20.0
MOST_NAMED = 4
_ASK = (
    "import sys\n"
    "sys.path[:] = [folder for folder in sys.path if folder]\n"  # -c adds the current directory, and -P is from 3.11 on
    "import importlib.util, json\n"
    "def has(name):\n"
    "    try: return importlib.util.find_spec(name) is not None\n"
    "    except (ImportError, ValueError): return False\n"
    "print(json.dumps([name for name in sys.argv[1:] if not has(name)]))"
)


def lacking(
    program: Program, texts: Texts, environment: Mapping[str, str], provided: Collection[str] = ()
) -> Iterator[Remark]:
    """Warn if the Python of a command lacks a package that the script imports whenever it runs.

    Args:
        program: the program of the command.
        texts: what the command runs.
        environment: the environment of the trials.
        provided: packages that sweeper provides for the trials.
    """
    word = program.executable
    if not program.is_python or word is None or word.text is None:
        return
    names = sorted({name for source in texts.run for name in _needed(source)} - {*provided})
    python = located_executable(word.text, environment)
    if not names or python is None:
        return
    if is_this(word.text, environment):
        missing, hint = [name for name in names if not _has(name)], "install what is missing"
    else:
        missing = _asked(python, names, environment)
        has_all = not any(not _has(name) for name in missing)
        hint = 'write "${interpreter}" for the Python that runs sweeper' + (", which has it" if has_all else "")
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        what = f"{listed(missing[:MOST_NAMED]).replace(' or ', ' and ')}{more}"
        script = Path(program.script.text).name if program.script and program.script.text else "its program"
        which = "" if word.text == python else f" is {printable(python)}, which"
        text = f"{printable(word.text)}{which} lacks {what}, imported by {script}; {hint}"
        yield Remark(path=word.place, text=text)


def is_this(name: str, environment: Mapping[str, str]) -> bool:
    """Return whether a Python is that of the environment which runs sweeper, under any name."""
    found = located_executable(name, environment)
    if found is None:
        return False
    # Interpreters of several environments may link to one file, but are in different folders.
    folders = {os.path.realpath(os.path.dirname(file)) for file in (found, sys.executable)}  # noqa: PTH120
    return len(folders) == 1 and os.path.realpath(found) == os.path.realpath(sys.executable)


def _needed(source: SourceFile) -> Iterator[str]:
    """Yield the packages that a file imports outside of functions and conditions, without local modules."""
    try:
        tree = ast.parse(source.file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in tree.body:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            modules = [node.module]
        for name in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names:
            if not any(_is_local(name, folder) for folder in source.search_path):
                yield name


def _is_local(name: str, folder: str) -> bool:
    return Path(folder, name).is_dir() or Path(folder, f"{name}.py").is_file()


def _has(name: str) -> bool:
    try:
        return source_of(name) is not None or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _asked(python: str, names: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return which packages another interpreter does not have; none if it cannot be asked."""
    command = [python, "-c", _ASK, *names]
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, timeout=MOST_SECONDS, check=True, text=True
        )
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    return [name for name in answer if isinstance(name, str)] if isinstance(answer, list) else []
