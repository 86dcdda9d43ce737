"""Remove the temporary files that processes left behind because they were killed while they wrote."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

TEMPORARY = re.compile(r"\.(?:.+\.\d+-\d+\.tmp|saving\.\d+)")
"""The names that `layout.write_atomically` and `worker.checkpoint.save` give to files that are not complete yet."""


def remove_leftovers(*folders: Path) -> None:
    """Remove the temporary files in these folders, to which no process writes now; skip folders that do not exist."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208 - names alone are compared
                if TEMPORARY.fullmatch(name):
                    (folder / name).unlink()
