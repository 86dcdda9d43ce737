"""The models of a data set: labelled texts for classification."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Texts, and the class of each text as an index into the classes of the corpus."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A loaded dataset.

    Attributes:
        name: the name by which it was requested.
        source: its origin, as a text for people.
        classes: the names of the classes.
        train: the training examples.
        test: the test examples.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    test: Split

    @property
    def sha256(self) -> str:
        """The digest of classes, labels and texts in their order, without name and source."""
        digest = hashlib.sha256()
        for part in self._parts():
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
        return digest.hexdigest()

    @property
    def provenance(self) -> dict[str, object]:
        """The description of the corpus for the record, as JSON-ready data."""
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
    """An available dataset, which is loaded on demand.

    Attributes:
        name: the name by which it was requested.
        stamp: a text that changes when the dataset may have changed, and is cheap to compute.
        load: reads the texts. May raise DataUnavailable.
    """

    name: str
    stamp: str
    load: Callable[[], Corpus]
