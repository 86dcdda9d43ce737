"""Read keys of JSON lines that are appended, or of one JSON document that is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from sweeper.config import JsonSource
from sweeper.orchestrator.collect.reading import (
    MOST_NAMES,
    FileReader,
    NotANumber,
    Reading,
    lines_of,
    mark_of,
    number_of,
    step_of,
)

LONGEST_FIRST = 1 << 16
"""Bytes of the first line of a file of lines, if its name does not say that it has lines."""
MOST_DOCUMENT = 1 << 22
"""Bytes of a document that is read as a whole."""
LINES = (".jsonl", ".ndjson", ".jsonlines")
"""The ends of the names of files that have a document a line."""
MISSING = object()
DEEPEST = 3
"""Mappings in mappings, with keys that are remembered."""


@dataclass(slots=True)
class JsonReader(FileReader):
    """Reads the keys of `wanted`, by metric. Whether a file is lines or one document is seen from its text."""

    wanted: Mapping[str, JsonSource] = field(default_factory=dict)
    name: str = ""

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values of each line, or of the document if it has changed, as in `FileReader.read`."""
        self.prepare(fd, size)
        if self.document:
            yield from self._document(fd, size, final=final)
            return
        for end, line in lines_of(fd, self.offset, size, final=final):
            self.offset = end
            if line.strip():
                try:
                    data = json.loads(line)
                except (ValueError, RecursionError):
                    self._all(f"expected JSON, got {line[:40]!r}")
                else:
                    yield from self._values(data, end)

    def prepare(self, fd: int, size: int) -> None:
        """Find out whether the file is one document, or lines."""
        self.document = not self._has_lines(fd, size)

    def mark(self, fd: int, offset: int) -> int:
        """Return a checksum: of all of a document, because any part of it may change."""
        return crc32(os.pread(fd, offset, 0)) if self.document else mark_of(fd, offset)

    def _has_lines(self, fd: int, size: int) -> bool:
        """Return whether each line is a document: the first one is, and another one follows."""
        if self.name.endswith(LINES):
            return True
        first, newline, rest = os.pread(fd, min(size, LONGEST_FIRST), 0).lstrip().partition(b"\n")
        if not newline or not (rest.strip() or size > LONGEST_FIRST):
            return False
        try:
            return isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return False

    def _document(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values of a document; of none that is still being written."""
        if self.offset >= size:
            return
        if size > MOST_DOCUMENT:
            self._all(f"expected a document of at most {MOST_DOCUMENT:,} bytes, got {size:,}")
            return
        text = os.pread(fd, size, 0)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            if final:
                self._all(f"expected JSON, got {text[:40].decode(errors='replace')!r}")
            return
        self.offset = size
        yield from self._values(data, size)

    def _all(self, problem: str) -> None:
        self.problems |= dict.fromkeys(self.wanted, problem)

    def _values(self, data: object, end: int) -> Iterator[Reading]:
        self.see(list(_numbers(data)))
        found: dict[int | None, dict[str, float]] = {}
        for metric, source in self.wanted.items():
            value = looked_up(data, source.key)
            if value is MISSING or value is None:
                continue
            try:
                number = number_of(value)
            except NotANumber as error:
                self.problems[metric] = f"expected a number at {source.key}, got {error}"
                continue
            found.setdefault(self._step(metric, source, data), {})[metric] = number
        for step, values in found.items():
            yield Reading(end, values, step)

    def _step(self, metric: str, source: JsonSource, data: object) -> int | None:
        if source.step is None:
            return None
        value = looked_up(data, source.step)
        try:
            return step_of(None if value is MISSING else value)
        except NotANumber as error:
            self.problems[metric] = f"expected a whole number at {source.step} for the step, got {error}"
            return None


def looked_up(data: object, key: str) -> object:
    """Return the value at a key, where dots lead into mappings and lists; `MISSING` if there is none."""
    if isinstance(data, dict):
        if key in data:
            return data[key]
        # A key may have dots itself: the longest one that exists comes first.
        for end in [index for index, char in enumerate(key) if char == "."][::-1]:
            if key[:end] in data and (value := looked_up(data[key[:end]], key[end + 1 :])) is not MISSING:
                return value
    elif isinstance(data, list):
        head, _, rest = key.partition(".")
        if head.removeprefix("-").isdecimal() and -len(data) <= int(head) < len(data):
            return looked_up(data[int(head)], rest) if rest else data[int(head)]
    return MISSING


def _numbers(data: object, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the keys of the numbers in a document."""
    for count, (name, value) in enumerate(data.items() if isinstance(data, dict) else ()):
        if count >= MOST_NAMES or depth > DEEPEST:
            return
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.", depth + 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}"
