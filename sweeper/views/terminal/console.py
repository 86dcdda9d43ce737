"""The consoles that tables are printed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from rich.console import Console

LEAST_COLUMNS, LEAST_LINES = 20, 5
"""A smaller COLUMNS or LINES is a mistake, such as the 0 of a terminal of unknown size."""


def make_console(**settings: Any) -> Console:
    """Return a console of rich that ignores sizes in the environment on which nothing can be shown."""
    return Console(highlight=False, _environ=_usable(os.environ), **settings)


def _usable(environment: Mapping[str, str]) -> dict[str, str]:
    least = {"COLUMNS": LEAST_COLUMNS, "LINES": LEAST_LINES}
    return {
        name: value
        for name, value in environment.items()
        if name not in least or (value.isascii() and value.isdecimal() and least[name] <= int(value) < 10**6)
    }
