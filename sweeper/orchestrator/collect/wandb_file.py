"""Read what `wandb.log` wrote to the file of an offline run, `run-ID.wandb`.

The file has a head of 7 bytes and is a log as in LevelDB: blocks of 32 KiB with records of checksum, length and type,
where a long message is split over several records (leveldb/doc/log_format.md). The messages are `Record` in wandb's
wandb_internal.proto. Its fields are decoded here, so that wandb need not be installed beside sweeper.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.orchestrator.collect.protobuf import fields, signed
from sweeper.orchestrator.collect.reading import MOST_STEP, PIECE, FileReader, NotANumber, Reading, number_of

MAGIC, FILE_HEAD = b":W&B", 7
BLOCK, HEAD = 1 << 15, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, SUMMARY = 2, 3
ITEM, STEP = 1, 2
"""Fields of a record, and of a history in it."""
VALUE_JSON = 16
MOST_MESSAGE = 1 << 24


@dataclass(slots=True)
class WandbReader(FileReader):
    """Reads the keys of `wanted` (metrics by key). Dots lead into nested keys.

    A key that is only in the run's summary, such as `run.summary["best"] = 0.9`, is read once the run has ended.
    `given` are the metrics of which the file gave values.
    """

    wanted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    _summary: dict[str, float] = field(default_factory=dict)
    _step: int = 0

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values of each step, as in `FileReader.read`."""
        if self.offset == 0 and size >= FILE_HEAD:
            if os.pread(fd, len(MAGIC), 0) != MAGIC:
                self._fail("it is not a file of wandb", size)
                return
            self.offset = FILE_HEAD
        begin = self.offset
        for end, message in self._messages(fd, size):
            self.offset = end
            yield from self._values(message, end)
            if end - begin >= PIECE:
                return
        if final and begin == self.offset:
            yield from self._of_summary()

    def _messages(self, fd: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield each complete message after `offset`, with the offset of its end."""
        position, parts = self.offset, list[bytes]()
        while True:
            left = BLOCK - position % BLOCK
            if left < HEAD:
                position += left
            if position + HEAD > size:
                return
            head = os.pread(fd, HEAD, position)
            if len(head) < HEAD:  # it was truncated meanwhile
                return
            _, length, kind = struct.unpack("<IHB", head)
            if kind not in (FULL, FIRST, MIDDLE, LAST) or sum(map(len, parts)) > MOST_MESSAGE:
                self._fail("the file is damaged; what follows in it is not read", size)
                return
            if position + HEAD + length > size:
                return
            data = os.pread(fd, length, position + HEAD)
            position += HEAD + length
            parts = [data] if kind in (FULL, FIRST) else [*parts, data]
            if kind in (FULL, LAST):
                yield position, b"".join(parts)
                parts = []

    def _fail(self, why: str, size: int) -> None:
        self.problems |= {metric: why for metrics in self.wanted.values() for metric in metrics}
        self.offset = size

    def _values(self, message: bytes, end: int) -> Iterator[Reading]:
        try:
            kind, step, found = _record(memoryview(message))
        except (ValueError, struct.error):
            return
        if not kind:
            return
        numbers = self._numbers(found)
        if kind == SUMMARY:
            self._summary |= numbers
            return
        self._step = self._step if step is None else step
        values = {metric: value for key, value in numbers.items() for metric in self.wanted.get(key, ())}
        self.given |= values.keys()
        if values:
            yield Reading(end, values, step)

    def _numbers(self, found: Mapping[str, str]) -> dict[str, float]:
        numbers = {}
        for key, text in found.items():
            try:
                numbers[key] = number_of(json.loads(text))
            except NotANumber as error:
                self.problems |= dict.fromkeys(self.wanted.get(key, ()), f"expected a number, got {error}")
            except ValueError:
                continue
        self.see([key for key in numbers if not key.startswith("_")])
        return numbers

    def _of_summary(self) -> Iterator[Reading]:
        values = {
            metric: value
            for key, value in self._summary.items()
            for metric in self.wanted.get(key, ())
            if metric not in self.given
        }
        self.given |= values.keys()
        if values:
            yield Reading(self.offset, values, self._step)


def _record(message: memoryview) -> tuple[int, int | None, dict[str, str]]:
    """Return the kind of a record, its step, and the JSON of each key; kind 0 for any other record."""
    for number, value in fields(message):
        if number in (HISTORY, SUMMARY) and isinstance(value, memoryview):
            step, found = None, dict[str, str]()
            for part, one in fields(value):
                if part == ITEM and isinstance(one, memoryview):
                    found |= _item(one)
                elif part == STEP and number == HISTORY and isinstance(one, memoryview):
                    step = next((signed(num) for _, num in fields(one) if isinstance(num, int)), 0)
            return number, step if step is not None and 0 <= step <= MOST_STEP else None, found
    return 0, None, {}


def _item(message: memoryview) -> dict[str, str]:
    keys, text = list[str](), ""
    for number, value in fields(message):
        if isinstance(value, memoryview) and number in (1, 2):
            keys.append(bytes(value).decode(errors="replace"))
        elif isinstance(value, memoryview) and number == VALUE_JSON:
            text = bytes(value).decode(errors="replace")
    return {".".join(keys): text} if keys and text else {}
