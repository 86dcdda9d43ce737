"""A small import hook: call what `LOGGERS` lists after the import of a module. Run a script with it in this process.

Usage: python hook.py SETTINGS SCRIPT [ARGUMENT ...], where SETTINGS is a JSON file, see `scripts.run`.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "sweeper.auto.hook"
"""The frames of an import hook of sweeper are recognised by the name of its module."""


class Recording:
    def __init__(self, path: Path, breaks: bool) -> None:
        self._path = path
        self._breaks = breaks

    def __call__(self, source: str, values: Mapping[str, Any], step: int | None = None) -> None:
        if self._breaks:
            raise OSError("the disk is full")
        kinds = {name: type(value).__name__ for name, value in values.items()}
        self._write(
            {"source": source, "values": {k: float(v) for k, v in values.items()}, "step": step, "kinds": kinds}
        )

    def note(self, text: str) -> None:
        self._write({"note": text})

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Hook:
    def __init__(self, log: Recording) -> None:
        self._log = log

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        from sweeper.auto.loggers import LOGGERS

        if name not in LOGGERS:
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                LOGGERS[name](module, self._log)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class Without:
    """Find what `PathFinder` finds, as if some packages were not installed."""

    def __init__(self, hidden: list[str]) -> None:
        self._hidden = hidden

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in self._hidden else PathFinder.find_spec(name, path, target)

    find_distributions = staticmethod(PathFinder.find_distributions)


def start(settings: dict[str, Any]) -> None:
    from sweeper.auto.wandb import install_wandb

    log = Recording(Path(settings["output"]), settings["breaks"])
    if settings["hidden"]:
        sys.meta_path[sys.meta_path.index(PathFinder)] = Without(settings["hidden"])
    sys.meta_path.insert(0, Hook(log))
    install_wandb(settings["params"], Path(settings["directory"]), log)


if __name__ == "__main__":
    settings, *sys.argv = sys.argv[1:]
    spec = importlib.util.spec_from_file_location(NAME, __file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.start(json.loads(Path(settings).read_text()))
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
