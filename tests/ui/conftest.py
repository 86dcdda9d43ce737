"""A folder with one run, and a client of its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.record.storage.layout import SweepDir
from tests.ui.client import Client, client_of, make_run


@pytest.fixture
def run(tmp_path: Path) -> SweepDir:
    return make_run(tmp_path)


@pytest.fixture
def client(run: SweepDir) -> Iterator[Client]:
    with client_of(run.path.parent) as made:
        yield made
