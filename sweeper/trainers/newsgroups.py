"""The dataset `20newsgroups`: four categories of the "bydate" corpus, by scikit-learn and from its cache.

2,034 training and 1,353 test documents, headers, footers and quotes included, as in the article on warmup.
"""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.errors import DataUnavailable
from sweeper.trainers.corpus import Corpus, Dataset, Split
from sweeper.trainers.network import ANSWER_S, Patience, probe

NAME = "20newsgroups"
CATEGORIES = ("alt.atheism", "comp.graphics", "sci.space", "talk.religion.misc")
URL = "https://ndownloader.figshare.com/files/5975967"
CACHE_FILE = "20news-bydate_py3.pkz"
"""Both are scikit-learn's (`sklearn/datasets/_twenty_newsgroups.py`)."""


def locate(patience: Patience) -> Dataset:
    """The dataset, in scikit-learn's cache; downloaded there when it is not.

    Raises:
        DataUnavailable: it is not in the cache and cannot be downloaded, or scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise DataUnavailable('it needs scikit-learn, which is not installed: pip install "sweeper[text]"')
    path = _data_home() / CACHE_FILE
    if not path.exists():
        probe(URL, patience)
        _download()
    try:
        stat = path.stat()
    except OSError as error:
        raise DataUnavailable(f"{path}: {error.strerror}") from error
    return Dataset(name=NAME, stamp=f"{NAME} {path} {stat.st_size} {stat.st_mtime_ns}", load=lambda: load(path))


def load(path: Path) -> Corpus:
    """The four categories, from scikit-learn's cache.

    Raises:
        DataUnavailable: the cached file cannot be read.
    """
    return Corpus(name=NAME, source=str(path), classes=CATEGORIES, train=_split("train"), test=_split("test"))


def _data_home() -> Path:
    """Where scikit-learn keeps data; it is not asked itself, because importing it takes a second."""
    return Path(os.environ.get("SCIKIT_LEARN_DATA", Path("~", "scikit_learn_data"))).expanduser()


def _split(subset: str) -> Split:
    from sklearn.datasets import fetch_20newsgroups

    try:
        bunch = fetch_20newsgroups(
            data_home=_data_home(), subset=subset, categories=list(CATEGORIES), remove=(), download_if_missing=False
        )
    except OSError as error:  # what scikit-learn raises for a damaged cache as well
        raise DataUnavailable(f"{_data_home() / CACHE_FILE} cannot be read ({error}); delete it") from error
    return Split(texts=tuple(bunch.data), labels=tuple(int(label) for label in bunch.target))


def _download() -> None:
    from sklearn.datasets import fetch_20newsgroups

    with _stall_limit(ANSWER_S):
        try:
            fetch_20newsgroups(data_home=_data_home(), subset="test", n_retries=0)
        except OSError as error:
            raise DataUnavailable(f"{URL}: {error}") from error


@contextmanager
def _stall_limit(seconds: float) -> Iterator[None]:
    """Let a download that stops arriving fail: scikit-learn sets no limit, and a socket's default is none either."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
