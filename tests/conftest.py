"""What all tests share."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("sweeper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sweeper")

# The sweeps of tests share this machine's slots with nobody, and no test waits for another one.
_slots = tempfile.TemporaryDirectory(prefix="sweeper-slots-")
os.environ["SWEEPER_SLOTS"] = _slots.name
