"""Run scripts as users write them, in a process in which the loggers are wrapped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.imports import ROOT

HOOK = Path(__file__).with_name("hook.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a script did: its exit code, what it printed, and what reached the log."""

    code: int
    out: str
    err: str
    logged: list[tuple[str, dict[str, float], int | None]]
    kinds: list[dict[str, str]]
    notes: list[str]
    directory: Path


def need(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def run(
    tmp_path: Path,
    script: str,
    *,
    params: Mapping[str, object] | None = None,
    hidden: Sequence[str] = (),
    breaks: bool = False,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a script with the trial's parameters; `hidden` packages are not installed, and `breaks` fails each report."""
    directory = tmp_path / "trial"
    work = tmp_path / "work"
    directory.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    output = tmp_path / "logged.jsonl"
    output.touch()
    settings: dict[str, Any] = {"output": str(output), "params": params or {}, "directory": str(directory)}
    (tmp_path / "settings.json").write_text(json.dumps({**settings, "hidden": list(hidden), "breaks": breaks}))
    file = work / "train.py"
    file.write_text(textwrap.dedent(script))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, HOOK, tmp_path / "settings.json", file, *arguments],
        cwd=work,
        env={**kept, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **(environment or {})},
        capture_output=True,
        text=True,
    )
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    entries = [line for line in lines if "source" in line]
    return Run(
        code=done.returncode,
        out=done.stdout,
        err=done.stderr,
        logged=[(entry["source"], entry["values"], entry["step"]) for entry in entries],
        kinds=[entry["kinds"] for entry in entries],
        notes=[line["note"] for line in lines if "note" in line],
        directory=directory,
    )


def ran(tmp_path: Path, script: str, **options: Any) -> Run:
    """Run a script that has to succeed."""
    done = run(tmp_path, script, **options)
    assert done.code == 0, done.err
    return done
