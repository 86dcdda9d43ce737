"""Labelled texts of a classification task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Texts and the class of each, as an index into the corpus's classes."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A dataset, loaded.

    Attributes:
        name: the name it was asked for by.
        source: where it came from, for a person.
        classes: the names of the classes.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    test: Split

    @property
    def sha256(self) -> str:
        """The digest of classes, labels and texts in their order; not of name and source."""
        digest = hashlib.sha256()
        for part in self._parts():
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    @property
    def provenance(self) -> dict[str, object]:
        """What a record keeps of it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "train": len(self.train.texts),
            "test": len(self.test.texts),
            "classes": list(self.classes),
            "source": self.source,
        }

    def _parts(self) -> Iterator[str]:
        yield "\n".join(self.classes)
        for split in (self.train, self.test):
            yield " ".join(str(label) for label in split.labels)
            yield from split.texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset that can be had, and need not be loaded yet.

    Attributes:
        name: the name it was asked for by.
        stamp: differs whenever the texts may; cheap to come by.
        load: reads the texts; may raise DataUnavailable.
    """

    name: str
    stamp: str
    load: Callable[[], Corpus]
