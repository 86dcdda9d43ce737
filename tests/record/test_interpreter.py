"""Sweeper's own child processes import nothing from the directory in which sweeper was called."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sweeper
from sweeper.preflight.command.interpreter import _asked
from sweeper.record.interpreter import isolated_python

PACKAGE = Path(sweeper.__file__).parent
NAMES = ("argparse", "contextlib", "importlib", "json", "random", "signal", "tempfile", "token", "torch", "typing")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with modules named as others, which write a file when they are imported."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("import os\nopen(os.environ['CANARY'], 'a').write(__name__)\n")
    canary = tmp_path / "canary"
    monkeypatch.setenv("CANARY", str(canary))
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(tmp_path)
    return canary


def test_the_modules_of_the_directory_would_be_found_otherwise(hostile: Path) -> None:
    subprocess.run([sys.executable, "-m", "argparse"], check=False, capture_output=True)
    assert hostile.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "import argparse, random, tempfile"],
        ["-m", "sweeper.views.tensorboard", "--help"],
        ["-m", "sweeper.views.tensorboard.embeddings", "--help"],
        ["-m", "sweeper.trainers.embeddings", "--help"],
        ["-m", "sweeper.cli", "doctor", "--help"],
        ["-m", "sweeper.worker.process.shim"],
        ["-m", "sweeper.trainers.prepare"],
    ],
    ids=" ".join,
)
def test_a_child_imports_nothing_from_the_current_directory(hostile: Path, words: list[str]) -> None:
    subprocess.run([*isolated_python(), *words], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    assert not hostile.exists()


def test_another_python_is_asked_for_packages_without_the_current_directory(hostile: Path) -> None:
    assert _asked(sys.executable, ["nothing_like_that"], os.environ) == ["nothing_like_that"]
    assert not hostile.exists()


THE_USERS_OWN = {
    *("orchestrator/trial_command.py", "worker/standalone.py", "executors/ray/host.py", "executors/ray/executor.py"),
    *("preflight/command/program.py", "preflight/command/interpreter.py", "preflight/provenance.py"),
    *("worker/process/program.py", "preflight/doctor.py", "record/interpreter.py"),
}
"""Where `sys.executable` begins the user's command, or is compared with it and shown."""
SHIMS = {"executors/local.py", "executors/preload.py", "executors/slurm/executor.py", "worker/process/shim.py"}


def test_every_process_of_its_own_is_isolated() -> None:
    """A new `sys.executable` has to be thought about: `isolated_python` is for all that is not the user's."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bsys\.executable\b", ast.unparse(ast.parse(path.read_text("utf-8"))))
    }
    assert found <= THE_USERS_OWN | SHIMS
