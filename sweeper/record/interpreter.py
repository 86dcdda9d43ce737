"""The Python of sweeper's own child processes."""

from __future__ import annotations

import sys
from pathlib import Path


def isolated_python() -> list[str]:
    """Return the words that start this Python without the current directory in its module search path.

    A run may be looked at from any directory, such as one that came with it. A ``random.py`` there must not run. Only
    the user's own command sees the directory in which it is started.
    """
    return [sys.executable, *([] if _is_in_own_sources() else ["-P"])]


def _is_in_own_sources() -> bool:
    """Return whether the current directory has the sources of sweeper: it may be the only place to import them from."""
    try:
        return Path(__file__).resolve().parents[2] == Path.cwd()
    except FileNotFoundError:  # the directory was deleted
        return False
