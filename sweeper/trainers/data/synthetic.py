"""The dataset `synthetic-topics`: texts on four topics in an invented language, generated identically everywhere.

It replaces the four newsgroups when there is no network: the same number of documents of each class, word frequencies
by Zipf's law, topics that share words, and documents of which some reveal little about their topic. All random numbers
come from `random.Random.random`: Python guarantees its sequence on all platforms.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sweeper.trainers.data.corpus import Corpus, Dataset, Split
from sweeper.trainers.data.network import TotalTimeout

Item = TypeVar("Item")
NAME = "synthetic-topics"
VERSION = 1
"""Incremented whenever the generated texts change."""
CLASSES = ("topic-a", "topic-b", "topic-c", "topic-d")
TRAIN = (480, 584, 593, 377)
TEST = (319, 389, 394, 251)
"""Number of documents of each class, as in the four newsgroups."""

COMMON_WORDS = 3000
TOPIC_WORDS = 400
COMMON_FLATNESS = 3
TOPIC_FLATNESS = 3
SHARED = 0.5
"""The fraction of a topic's words that the next topic has too."""
FOCUS = (0.05, 0.45)
"""The fraction of a document's words that come from its topic: minimum and maximum."""
DRIFT = 0.35
"""The maximum fraction of topic words that come from another topic instead."""
LENGTH = (20, 100)
SENTENCE = (5, 16)
ONSETS = ("b", "ch", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w", "y", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
CODAS = ("", "", "", "n", "r", "s", "l")


@dataclass(frozen=True, slots=True)
class Zipf:
    """Words with frequencies by Zipf's law."""

    words: tuple[str, ...]
    cumulated: tuple[float, ...]

    @classmethod
    def of(cls, words: Sequence[str], *, flatness: int) -> Zipf:
        """Return these words, with the n-th (from 0) of a frequency proportional to 1 / (n + flatness)."""
        return cls(tuple(words), tuple(itertools.accumulate(1 / (rank + flatness) for rank in range(len(words)))))

    def draw(self, source: random.Random) -> str:
        """Draw a word."""
        return self.words[bisect.bisect(self.cumulated, source.random() * self.cumulated[-1])]


@dataclass(frozen=True, slots=True)
class Language:
    """The words of documents: common ones, and those of each topic."""

    common: Zipf
    topics: tuple[Zipf, ...]


def locate(_: TotalTimeout) -> Dataset:
    """Return the dataset, which is always available."""
    return Dataset(name=NAME, stamp=f"{NAME} {VERSION}", load=load)


def load() -> Corpus:
    """Generate the corpus."""
    source = random.Random(20)  # noqa: S311  # texts, no secrets
    language = _language(source)
    return Corpus(
        name=NAME,
        source=f"generated, version {VERSION}",
        classes=CLASSES,
        train=_split(TRAIN, language, source),
        test=_split(TEST, language, source),
    )


def _language(source: random.Random) -> Language:
    shared = round(TOPIC_WORDS * SHARED)
    own = TOPIC_WORDS - shared
    words = _words(COMMON_WORDS + len(CLASSES) * own, source)
    common, ring = words[:COMMON_WORDS], words[COMMON_WORDS:]
    topics = []
    for number in range(len(CLASSES)):
        chosen = [ring[(number * own + offset) % len(ring)] for offset in range(TOPIC_WORDS)]
        topics.append(Zipf.of(_shuffled(chosen, source), flatness=TOPIC_FLATNESS))
    return Language(Zipf.of(common, flatness=COMMON_FLATNESS), tuple(topics))


def _split(sizes: Sequence[int], language: Language, source: random.Random) -> Split:
    labels = _shuffled([label for label, size in enumerate(sizes) for _ in range(size)], source)
    return Split(texts=tuple(_document(label, language, source) for label in labels), labels=tuple(labels))


def _document(label: int, language: Language, source: random.Random) -> str:
    focus, drift = _between(FOCUS, source), DRIFT * source.random()
    other = (label + 1 + int(source.random() * (len(CLASSES) - 1))) % len(CLASSES)
    words = []
    for _ in range(int(_between(LENGTH, source))):
        on_topic, drifts = source.random() < focus, source.random() < drift
        topic = language.topics[other if drifts else label]
        words.append((topic if on_topic else language.common).draw(source))
    return _prose(words, source)


def _prose(words: Sequence[str], source: random.Random) -> str:
    sentences, start = [], 0
    while start < len(words):
        end = start + int(_between(SENTENCE, source))
        sentences.append(" ".join(words[start:end]).capitalize() + ".")
        start = end
    return " ".join(sentences)


def _words(count: int, source: random.Random) -> list[str]:
    """Return different pronounceable words, short ones first, because frequent words are short."""
    words: dict[str, None] = {}
    while len(words) < count:
        syllables = 1 + int(2 * len(words) / count + 1.5 * source.random())
        words["".join(_pick(part, source) for _ in range(syllables) for part in (ONSETS, VOWELS, CODAS))] = None
    return list(words)


def _pick(items: Sequence[str], source: random.Random) -> str:
    return items[int(source.random() * len(items))]


def _between(bounds: tuple[float, float], source: random.Random) -> float:
    low, high = bounds
    return low + (high - low) * source.random()


def _shuffled(items: Sequence[Item], source: random.Random) -> list[Item]:
    return sorted(items, key=lambda _: source.random())
