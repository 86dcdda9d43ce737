"""What all tests share."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("sweeper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sweeper")

# Sweeps of tests share their slots with no other sweep, so no test waits for another one.
_slots = tempfile.TemporaryDirectory(prefix="sweeper-slots-")
os.environ["SWEEPER_SLOTS"] = _slots.name

# Folders with tests that run in a part of their own (`make test-all`), by the marker of that part.
PARTS = {"browser": "browser", "faults": "faults", "slurm": "cluster"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        part = PARTS.get(item.path.relative_to(here).parts[0])
        if part is not None:
            item.add_marker(part)
