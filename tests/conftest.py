"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine, which others use too, and nothing about the code.
settings.register_profile("sweeper", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sweeper")
