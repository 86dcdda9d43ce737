"""The four newsgroups, from scikit-learn's cache."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sweeper.errors import DataUnavailable
from sweeper.trainers.data import newsgroups
from sweeper.trainers.data.network import TotalTimeout


def test_the_four_categories_come_from_the_cache(newsgroups_home: Path) -> None:
    corpus = newsgroups.locate(TotalTimeout()).load()
    assert (len(corpus.train.texts), len(corpus.test.texts)) == (2034, 1353)
    assert Counter(corpus.train.labels) == {0: 480, 1: 584, 2: 593, 3: 377}
    assert corpus.classes == newsgroups.CATEGORIES
    assert corpus.train.texts[0].startswith("From: ")  # headers are kept


def test_a_damaged_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    (tmp_path / newsgroups.CACHE_FILE).write_bytes(b"torn")
    with pytest.raises(DataUnavailable, match=r"20news-bydate_py3\.pkz cannot be read"):
        newsgroups.locate(TotalTimeout()).load()
