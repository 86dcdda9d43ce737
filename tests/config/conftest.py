"""Sweep files on disk, and the trainers that they may name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeper.config import SweepSpec, load

TRAINERS = {
    "text-classification": {
        "lr": 3e-5,
        "epochs": 5,
        "eps": 1e-6,
        "pretrained": False,
        "precision": "auto",
        "betas": [0.9],
        "dataset": ["a"],
    },
}

Load = Callable[..., SweepSpec]


def sweep(**keys: Any) -> dict[str, Any]:
    """A small sweep that is right, with these keys in place of its own; None takes a key away."""
    small = {
        "name": "small",
        "trainer": "text-classification",
        "method": "grid",
        "metric": {"name": "loss"},
        "parameters": {"lr": {"values": [1e-4, 3e-4]}},
    }
    return {key: value for key, value in {**small, **keys}.items() if value is not None}


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """``load`` of a text that lies in ``sweep.yaml``."""
    monkeypatch.chdir(tmp_path)

    def loaded(text: str | bytes, *overrides: str, profile: str | None = None, has_cuda: bool = False) -> SweepSpec:
        Path("sweep.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return load("sweep.yaml", overrides=overrides, profile=profile, has_cuda=has_cuda, trainers=TRAINERS)

    return loaded


@pytest.fixture
def load_keys(load_text: Load) -> Load:
    """``load`` of the small sweep with other keys."""

    def loaded(
        *overrides: str,
        profile: str | None = None,
        has_cuda: bool = False,
        **keys: Any,
    ) -> SweepSpec:
        text = yaml.safe_dump(sweep(**keys), sort_keys=False)
        return load_text(text, *overrides, profile=profile, has_cuda=has_cuda)

    return loaded
