"""Where the real data are, and a cache of a test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub cache that is empty too, so that nothing comes from the machine."""
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def newsgroups_home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the real corpus, as `SCIKIT_LEARN_DATA`."""
    home = Path(os.environ.get("SCIKIT_LEARN_DATA", SHARED))
    if not (home / "20news-bydate_py3.pkz").exists():
        pytest.skip("needs the 20 newsgroups corpus in SCIKIT_LEARN_DATA or ../shared/data")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    return home


@pytest.fixture
def bert_vocabulary() -> Path:
    """A directory with BERT's vocabulary."""
    directory = SHARED / "bert-base-uncased"
    if not (directory / "vocab.txt").exists():
        pytest.skip("needs BERT's vocabulary in ../shared/data/bert-base-uncased")
    return directory
