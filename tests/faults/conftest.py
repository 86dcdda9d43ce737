"""What the tests of the faults share."""

from __future__ import annotations

from pathlib import Path

import pytest

TIMEOUT_S = 1200
"""Up to a sweep, four calls more, and the undisturbed one, on a machine that does other things too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
