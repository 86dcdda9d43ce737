"""A trial's directory for each test, and an environment that is put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from tests.integrations.record import Record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    with mock.patch.dict(os.environ):
        yield Record(tmp_path)
