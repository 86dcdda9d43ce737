"""What all readers of sources share: the values that were read, numbers in text, and reading a file piece by piece."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

PIECE = 1 << 18
"""Bytes of a file that are read at once, which takes a fraction of a second."""
MARKED = 256
"""Bytes before a position; their checksum tells whether the file is still the same up to there."""
LONGEST_LINE = 4096
"""Characters of a line that are searched."""
LONGEST_NAME = 200
MOST_NAMES = 100
"""Maximum number of names that a reader remembers to have seen in a file."""
QUOTED = 40
"""Characters of a value in a message."""
MOST_STEP = 2**53


class Reading(NamedTuple):
    """Values by metric that end at byte `offset`, and their step if the source has one."""

    offset: int
    values: Mapping[str, float]
    step: int | None = None


class NotANumber(ValueError):
    """A value is not a number; the text says what it is instead."""


def number_of(value: object) -> float:
    """Return a value of a file as a number: text such as ``1e-3``, ``nan`` or ``inf``, or a number of JSON.

    Raises:
        NotANumber: it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise NotANumber("nothing" if value is None else _quoted(str(value)))
    try:
        return float(value)
    except ValueError:
        raise NotANumber(_quoted(str(value)) if value != "" else "nothing") from None
    except OverflowError:
        return math.inf if isinstance(value, int) and value > 0 else -math.inf


def step_of(value: object) -> int:
    """Return a value of a file as a step.

    Raises:
        NotANumber: it is not a whole number from 0 on.
    """
    step = number_of(value)
    if not 0 <= step <= MOST_STEP or step != int(step):
        raise NotANumber(_quoted(str(value)))
    return int(step)


def _quoted(text: str) -> str:
    return repr(text[:QUOTED]) + "..." * (len(text) > QUOTED)


def mark_of(fd: int, offset: int) -> int:
    """Return the checksum of the bytes before an offset."""
    begin = max(0, offset - MARKED)
    return crc32(os.pread(fd, offset - begin, begin))


@dataclass(slots=True)
class FileReader:
    """Reads one file of a trial from `offset` on, as far as it is complete.

    Attributes:
        metrics: the metrics that are read.
        offset: where the next reading begins.
        names: the names of all numbers that were seen, whether or not they are wanted.
        problems: why a value of a metric could not be read, by metric; the newest problem.
        document: whether the file is one document that is replaced as a whole, and not lines that are appended.
    """

    metrics: Sequence[str] = ()
    offset: int = 0
    names: dict[str, None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    document: bool = False

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values after `offset`, from at most about `PIECE` bytes, and move `offset` on.

        Args:
            fd: the descriptor of the file.
            size: the size of the file.
            final: whether nothing more is written to it, so that a last line without newline is whole.
        """
        raise NotImplementedError

    def prepare(self, fd: int, size: int) -> None:
        """Look at a file that was not read before, or that has changed, before `mark` is called."""

    def mark(self, fd: int, offset: int) -> int:
        """Return a checksum of the file up to an offset, by which a replaced file is recognized."""
        return mark_of(fd, offset)

    def is_same(self, fd: int, offset: int, mark: int) -> bool:
        """Return whether the file up to an offset is the one with this checksum."""
        return self.mark(fd, offset) == mark

    def restart(self) -> None:
        """Begin anew, because the file was replaced."""
        self.offset = 0

    def see(self, names: Sequence[str]) -> None:
        """Remember names of numbers."""
        for name in names:
            if len(self.names) >= MOST_NAMES:
                return
            self.names.setdefault(name[:LONGEST_NAME])


def lines_of(fd: int, offset: int, size: int, *, final: bool) -> Iterator[tuple[int, str]]:
    """Yield each complete line after an offset, with the offset of its end, from at most `PIECE` bytes.

    A carriage return ends a line too: progress bars write many values on one line. A line that is longer than a piece
    is cut into pieces. What is not UTF-8 is replaced.
    """
    data = os.pread(fd, min(PIECE, max(0, size - offset)), offset)
    end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    if (final and offset + len(data) >= size) or (not end and len(data) == PIECE):
        end = len(data)
    position = offset
    for line in data[:end].replace(b"\r\n", b"\n\n").replace(b"\r", b"\n").split(b"\n"):
        position += len(line) + 1
        yield min(position, offset + end), line.decode(errors="replace")
