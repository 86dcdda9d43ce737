"""One file of a trial while it is read: which of its values are on the record already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.orchestrator.collect.reading import FileReader, Reading

Signature = tuple[int, int, int]
"""Inode, size and time of modification of a file."""
Recorded = Mapping[str, Sequence[tuple[int, str]]]
"""Step and text of the values on the record, in order, by metric."""


@dataclass(slots=True)
class TrackedFile:
    """A file that is being read.

    Attributes:
        until: by metric, the offset up to which its values are on the record.
        mark: the checksum of the file up to the reader's offset.
        signature: what the file looked like when it was last read.
    """

    reader: FileReader
    until: dict[str, int] = field(default_factory=dict)
    mark: int = 0
    signature: Signature | None = None
    _texts: dict[str, list[str]] = field(default_factory=dict)
    _pairs: dict[str, set[tuple[int, str]]] = field(default_factory=dict)

    def expect_again(self, recorded: Recorded) -> None:
        """Skip these values, because the file was replaced and what is read anew may contain them."""
        self._texts = {metric: [text for _, text in reversed(values)] for metric, values in recorded.items()}
        self._pairs = {metric: set(values) for metric, values in recorded.items()}

    def is_new(self, metric: str, value: float, reading: Reading) -> bool:
        """Return whether a value is not on the record yet."""
        if reading.offset <= self.until.get(metric, 0):
            return False
        text = repr(value)
        if reading.step is not None:
            return (reading.step, text) not in self._pairs.get(metric, ())
        if self.reader.document:
            return True
        # Without steps, the values of a file that was written again are those on the record, and then new ones.
        waiting = self._texts.get(metric, [])
        if waiting and waiting[-1] == text:
            waiting.pop()
            return False
        waiting.clear()
        return True
