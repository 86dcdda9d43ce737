"""Start sweeper's own modules in new processes, which import nothing from the current directory.

Python would put that directory first, so a user's `signal.py` or `token.py` would be imported in place of Python's own.
The user's command is started by the shim as it stands, and sees its directory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweeper.record.interpreter import isolated_python

SHIM = "sweeper.worker.process.shim"


def run_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of sweeper's modules with this interpreter."""
    return [*isolated_python(), "-m", module, *arguments]


def run_shim(trial: Path, attempt: int, command: Sequence[str]) -> list[str]:
    """Return the command of the shim of an attempt.

    Args:
        trial: The directory of the trial.
        attempt: The number of the attempt.
        command: The command of the worker.
    """
    return run_module(SHIM, str(trial.absolute()), str(attempt), *command)
