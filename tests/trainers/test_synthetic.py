"""The invented corpus: the same everywhere, and neither trivial nor hopeless."""

from __future__ import annotations

from collections import Counter

import pytest

from sweeper.trainers.data import synthetic
from sweeper.trainers.data.corpus import Corpus
from sweeper.trainers.data.network import TotalTimeout

SHA256 = "070448911d65a962a73f106d609f89edb4917adf95b99ad9fda3e7398effb55e"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthetic.locate(TotalTimeout()).load()


def test_the_texts_are_the_same_everywhere(corpus: Corpus) -> None:
    assert corpus.sha256 == SHA256, "new texts need a new VERSION, and the stalls measured again"


def test_it_has_the_sizes_of_the_four_newsgroups(corpus: Corpus) -> None:
    assert (len(corpus.train.texts), len(corpus.test.texts)) == (2034, 1353)
    assert Counter(corpus.train.labels) == {0: 480, 1: 584, 2: 593, 3: 377}
    assert Counter(corpus.test.labels) == {0: 319, 1: 389, 2: 394, 3: 251}
    assert max(Counter(corpus.test.labels).values()) / 1353 == pytest.approx(0.291, abs=5e-4)


def test_no_document_occurs_twice(corpus: Corpus) -> None:
    texts = corpus.train.texts + corpus.test.texts
    assert len(set(texts)) == len(texts)


def test_topics_overlap_in_their_words(corpus: Corpus) -> None:
    words: list[set[str]] = [set() for _ in corpus.classes]
    for text, label in zip(corpus.train.texts, corpus.train.labels, strict=True):
        words[label] |= set(text.lower().replace(".", "").split())
    assert all(len(a & b) > len(a) / 2 for a in words for b in words)


def test_counting_words_does_not_solve_it(corpus: Corpus) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(sublinear_tf=True)
    train, test = vectorizer.fit_transform(corpus.train.texts), vectorizer.transform(corpus.test.texts)
    accuracy = LogisticRegression(C=10, max_iter=2000).fit(train, corpus.train.labels).score(test, corpus.test.labels)
    assert 0.85 < accuracy < 0.93
