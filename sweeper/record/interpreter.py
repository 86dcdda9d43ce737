"""The Python of sweeper's own child processes."""

from __future__ import annotations

import sys


def isolated_python() -> list[str]:
    """Return the words that start this Python without the current directory in its module search path.

    A run may be looked at from any directory, such as one that came with it. A ``random.py`` there must not run. Only
    the user's own command sees the directory in which it is started.
    """
    return [sys.executable, "-P"]
