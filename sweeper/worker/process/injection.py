"""Make Python execute `auto/inject/sitecustomize.py` in the processes of a worker, without changes to the script."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "auto" / "inject"
PATH = "PYTHONPATH"


def injected(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the folder of sweeper's `sitecustomize` in front of PYTHONPATH."""
    before = environment.get(PATH)
    return {**environment, PATH: os.pathsep.join([str(FOLDER), *([before] if before else [])])}


def inject_here(environment: Mapping[str, str]) -> None:
    """Execute it in this process, if it was meant to: a fork of a preloaded process starts no interpreter."""
    if environment.get(PATH, "").split(os.pathsep)[0] == str(FOLDER):
        runpy.run_path(str(FOLDER / "sitecustomize.py"))
