"""Read scalars from TensorBoard's event files.

A file is a sequence of records: the length in 8 bytes, its checksum in 4, the message, and its checksum in 4
(tensorflow/core/lib/io/record_writer.h). The messages are `Event` in tensorflow/core/util/event.proto.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.orchestrator.collect.protobuf import fields, signed, varints
from sweeper.orchestrator.collect.reading import MOST_STEP, PIECE, FileReader, Reading

LENGTH, HEAD, TAIL = 8, 12, 4
STEP, SUMMARY = 2, 5
"""Fields of an event."""
TAG, SIMPLE_VALUE, TENSOR = 1, 2, 8
"""Fields of a value of a summary."""
KIND, CONTENT = 1, 4
"""Fields of a tensor."""
LONGEST_MESSAGE = 1 << 20
"""Bytes of a message that can hold scalars. Longer ones are pictures, and are skipped without being read."""
MOST_RECORD = 1 << 34
"""A length above this is not one: the file is damaged."""
FLOAT, DOUBLE, INT32, INT64 = 1, 2, 3, 9
_FORMATS: Mapping[int, str] = {FLOAT: "f", DOUBLE: "d", INT32: "i", INT64: "q"}
_LISTS: Mapping[int, str] = {5: "f", 6: "d"}
"""The fields of a tensor that list its values, by number: `float_val` and `double_val`."""


@dataclass(slots=True)
class EventFileReader(FileReader):
    """Reads the tags of `wanted` (metrics by tag)."""

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the scalars of the complete records, as in `FileReader.read`."""
        del final  # a torn record at the end is never completed
        left = PIECE  # of what is read: pictures are skipped
        while self.offset + HEAD + TAIL <= size and left > 0:
            head = os.pread(fd, LENGTH, self.offset)
            if len(head) < LENGTH:  # it was truncated meanwhile
                return
            (length,) = struct.unpack("<Q", head)
            if length > MOST_RECORD:
                problem = "an event file is damaged; what follows in it is not read"
                self.problems |= {metric: problem for metrics in self.wanted.values() for metric in metrics}
                self.offset = size
                return
            end = self.offset + HEAD + length + TAIL
            if end > size:
                return
            data = os.pread(fd, length, self.offset + HEAD) if length <= LONGEST_MESSAGE else b""
            self.offset, left = end, left - HEAD - len(data)
            yield from self._scalars(memoryview(data), end)

    def _scalars(self, message: memoryview, end: int) -> Iterator[Reading]:
        try:
            step, found = _event(message)
        except (ValueError, struct.error):
            return
        self.see(list(found))
        values = {metric: value for tag, value in found.items() for metric in self.wanted.get(tag, ())}
        if values:
            yield Reading(end, values, step if 0 <= step <= MOST_STEP else None)


def _event(message: memoryview) -> tuple[int, dict[str, float]]:
    """Return the step of an event, and its scalars by tag."""
    step, found = 0, dict[str, float]()
    for number, value in fields(message):
        if number == STEP and isinstance(value, int):
            step = signed(value)
        elif number == SUMMARY and isinstance(value, memoryview):
            for part, one in fields(value):
                if part == 1 and isinstance(one, memoryview):
                    found |= _value(one)
    return step, found


def _value(message: memoryview) -> dict[str, float]:
    """Return the tag and the number of one value of a summary; nothing for a picture, a text or a histogram."""
    tag, scalar = "", None
    for number, value in fields(message):
        if not isinstance(value, memoryview):
            continue
        if number == TAG:
            tag = bytes(value).decode(errors="replace")
        elif number == SIMPLE_VALUE:
            (scalar,) = struct.unpack("<f", value)
        elif number == TENSOR:
            scalar = _tensor(value)
    return {tag: scalar} if tag and scalar is not None else {}


def _tensor(message: memoryview) -> float | None:
    """Return the number in a tensor with one entry; None for any other tensor."""
    kind, values, content = 0, list[float](), b""
    for number, value in fields(message):
        if number == KIND and isinstance(value, int):
            kind = value
        elif number == CONTENT and isinstance(value, memoryview):
            content = bytes(value)
        elif number in _LISTS and isinstance(value, memoryview):
            form = _LISTS[number]
            values += [one for (one,) in struct.iter_unpack(f"<{form}", value)]
        elif number in (7, 10):  # int_val, int64_val
            values += [signed(one) for one in ([value] if isinstance(value, int) else varints(value))]
    if kind not in _FORMATS:
        return None
    if not values and content:
        values = [one for (one,) in struct.iter_unpack(f"<{_FORMATS[kind]}", content)]
    return float(values[0]) if len(values) == 1 else None
