"""Fakes the kernel's count of those it killed for want of memory, in every Python process that finds this at its start.

The file `oom_kills` of the working directory stands in place of every counter that the shim may read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_read_text = Path.read_text
_COUNTERS = ("vmstat", "memory.events", "memory.oom_control")


def _faked(path: Path, *arguments: Any, **options: Any) -> str:
    if path.name in _COUNTERS:
        counter = Path("oom_kills")
        return f"oom_kill {counter.stat().st_size if counter.exists() else 0}\n"
    return _read_text(path, *arguments, **options)


Path.read_text = _faked  # type: ignore[method-assign, assignment]
