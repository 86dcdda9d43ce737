"""What a shell offers for an argument: directories of runs, numbers of trials, sweep files. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from sweeper.record.storage.layout import SweepDir

Completer: TypeAlias = Callable[..., list[str]]
METHOD = re.compile(r"^(?:method\s*:|\"method\"\s*:)", re.MULTILINE)
"""The key that every sweep file has, and hardly any other YAML."""
LOOKED_AT = 1 << 16


def completed_by(action: argparse.Action, completer: Completer) -> None:
    """Have argcomplete ask the completer for this argument."""
    action.completer = completer  # type: ignore[attr-defined]  # it is how argcomplete is told


def runs(prefix: str, **_: object) -> list[str]:
    """The runs that begin so, those in `runs` where nothing is typed yet, and the directories on the way to others."""
    found = [path for path in _below(prefix) if path.is_dir()]
    if not prefix:
        found += _below("runs/")
    return [str(path) if SweepDir(path).spec.exists() else f"{path}/" for path in found if path.is_dir()]


def sweep_files(prefix: str, **_: object) -> list[str]:
    """The sweep files that begin so, and the directories on the way to others."""
    paths = _below(prefix)
    files = [str(path) for path in paths if path.suffix in (".yaml", ".yml") and _is_sweep(path)]
    return files + [f"{path}/" for path in paths if path.is_dir()]


def numbers(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """The numbers of a run's trials that begin so."""
    known = [str(trial.number) for trial in SweepDir(parsed_args.run).entries()]
    return [number for number in known if number.startswith(prefix)]


def _below(prefix: str) -> list[Path]:
    """What begins so in its directory; what is hidden only where that is asked for."""
    folder, _, name = prefix.rpartition("/")
    try:
        entries = sorted(Path(f"{folder}/" if folder or prefix.startswith("/") else ".").iterdir())
    except OSError:
        return []
    return list(_matching(entries, name))


def _matching(entries: list[Path], name: str) -> Iterator[Path]:
    for entry in entries:
        if entry.name.startswith(name) and (name or not entry.name.startswith(".")):
            yield entry


def _is_sweep(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return METHOD.search(file.read(LOOKED_AT)) is not None
    except OSError:
        return False
