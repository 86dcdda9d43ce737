"""Recognise a Python program in a command, and run it in this process as Python itself would."""

from __future__ import annotations

import builtins
import importlib.util
import os
import shutil
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader
from pathlib import Path
from typing import cast

from sweeper.worker.process.sources import SourceFile, source_of

FUNCTION = "sweeper.worker.function"
HERE = __file__
"""Frames of this file are removed from a program's tracebacks."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Python program in a command.

    Attributes:
        target: the path of a script, or the name of a module.
        arguments: the arguments after it.
        is_module: whether it is a module, as with `python -m`.
    """

    target: str
    arguments: tuple[str, ...]
    is_module: bool = False

    @classmethod
    def of(cls, command: Sequence[str]) -> Program | None:
        """Return the program, if the command runs one with this interpreter; otherwise None."""
        if not command or not _is_this_python(command[0]):
            return None
        rest = list(command[1:])
        while rest and rest[0] == "-u":  # output is unbuffered anyway
            rest.pop(0)
        if len(rest) > 1 and rest[0] == "-m":
            return cls(rest[1], tuple(rest[2:]), is_module=True)
        if rest and not rest[0].startswith("-") and rest[0].endswith(".py"):
            return cls(rest[0], tuple(rest[1:]))
        return None

    @property
    def sources(self) -> list[SourceFile]:
        """The source files of the program, including the module of a trainer function."""
        if not self.is_module:
            script = Path(self.target)
            return [SourceFile(script, search_path=(str(script.absolute().parent),))] if script.is_file() else []
        here = (str(Path.cwd()),)
        modules = [self.target, f"{self.target}.__main__"]
        if self.target == FUNCTION and self.arguments:
            modules.append(self.arguments[0].partition(":")[0])
        return [source for module in modules if (source := source_of(module, here)) is not None]

    def run(self) -> None:
        """Run the program in this process as `__main__`."""
        # runpy would remove `__main__` before threads and exit handlers of the script have finished.
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        if self.is_module:
            sys.path.insert(0, str(Path.cwd()))
            spec = importlib.util.find_spec(self.target)
            if spec is not None and spec.submodule_search_locations is not None:
                spec = importlib.util.find_spec(f"{self.target}.__main__")
            code = None if spec is None else cast("InspectLoader", spec.loader).get_code(spec.name)
            if spec is None or code is None:
                raise ImportError(f"No module named {self.target}")
            main.__dict__.update(__spec__=spec, __package__=spec.parent, __loader__=spec.loader, __cached__=spec.cached)
            file = str(spec.origin)
        else:
            sys.path.insert(0, str(Path(self.target).absolute().parent))
            code = compile(Path(self.target).read_bytes(), self.target, "exec", dont_inherit=True)
            file = self.target
        sys.argv = [file, *self.arguments]
        main.__dict__.update(__file__=file, __builtins__=builtins)
        exec(code, main.__dict__)  # noqa: S102 - it is the user's program


def _is_this_python(word: str) -> bool:
    """Return whether a command's first word is this interpreter, in the same environment, under any name."""
    file = word if os.sep in word else shutil.which(word)
    if file is None or os.path.realpath(file) != os.path.realpath(sys.executable):
        return False
    # Interpreters of several environments may link to one file, but are in different folders.
    return os.path.realpath(os.path.dirname(file)) == os.path.realpath(os.path.dirname(sys.executable))  # noqa: PTH120
