"""Which lines of a journal are as they were written: the reader's side of `storage.checksums`.

A line is believed if its checksum continues from the line before it. After a damaged line, the next line may continue
from its checksum, if that is right, or from its bytes, if those are as the writer found them. So one damaged byte costs
one line, or two where the checksum itself cannot be read.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweeper.record.events import Event
from sweeper.record.storage.checksums import AFTER_OLDER_LINES, KEY, SIZE, Damage, has_sum_inside, sum_of
from sweeper.record.storage.codec import decode_all

CANDIDATES = 8
"""After damaged lines, the number of checksums from which the next line may continue."""

ALTERED = "this line does not match its checksum: it was altered, or a line before it is missing; it is left out"
UNSUMMED = "this line has no checksum: it was altered, or another program appended it; it is left out"
TORN = "this line is incomplete: its writer was interrupted"
NO_EVENT = "this line is incomplete or not an event; it is left out, and nothing that was recorded is missing"
FOREIGN = "another program inserted this line; it is left out, and nothing that was recorded is missing"


@dataclass(slots=True)
class LineChecks:
    """Checks the lines of a journal in their order, and keeps what is wrong with them.

    Attributes:
        path: the journal.
        strict: whether every line must have a checksum. Otherwise, lines before the first one are of an older format.
        lines: how many lines were checked.
        unsummed: how many of them have no checksum, because an older version wrote them.
        damage: the lines that were left out.
    """

    path: Path
    strict: bool = False
    lines: int = 0
    unsummed: int = 0
    damage: list[Damage] = field(default_factory=list)
    _sums: tuple[int, ...] = (0,)
    _is_summed: bool = False
    _lacks_newline: bool = False
    _undecided: list[tuple[int, tuple[int, ...], bool]] = field(default_factory=list)

    def believed(self, data: bytes, lines: Sequence[bytes]) -> list[Event]:
        """Return the events of the next lines, without those that are left out.

        Args:
            data: the next bytes of the journal, up to the newline of the last of the lines.
            lines: the same as lines, without their newlines.
        """
        found = self._as_written(data, lines)
        if found is None:
            return [event for line in lines if (event := self._next(line)) is not None]
        self.lines += len(lines)
        return [event for event in found if event is not None]

    def without_newline(self, line: bytes) -> list[Event]:
        """Return the event of the last line, which lacks its newline; empty if it is left out."""
        event = self._next(line, newline=b"")
        self._lacks_newline = True
        return [] if event is None else [event]

    def incomplete(self, tail: bytes) -> Damage:
        """Return what is wrong with a last line that has no end; it is not counted, because it may still be written."""
        altered = has_sum_inside(tail)
        return Damage(file=self.path, line=self.lines + 1, what=ALTERED if altered else TORN, torn=not altered)

    def _as_written(self, data: bytes, lines: Sequence[bytes]) -> list[Event | None] | None:
        """Return the events if all lines are as they were written, else None.

        The checksum of the last line verifies all of them, and they become events at once. This is the usual case.
        """
        last = sum_of(lines[-1]) if lines else None
        if last is None:
            found = None if self.strict or self._is_summed or KEY in data else _decoded(lines)
            self.unsummed += 0 if found is None else len(found)
            return found
        if data.count(KEY) != len(lines):
            return None
        end, view = len(data) - 1 - SIZE, memoryview(data)
        if not any(zlib.crc32(view[:end], before) == last for before in self._sums):
            return None
        found = _decoded(lines)
        if found is not None:
            self._settle(next_continues=self._sums[0])
            self._is_summed, self._sums = True, (zlib.crc32(view[end:], last),)
        return found

    def _next(self, line: bytes, newline: bytes = b"\n") -> Event | None:
        """Return the event of the next line; None where it is left out, or this version does not know it."""
        if not line:
            self._take_empty(newline)
            return None
        self.lines += 1
        self._lacks_newline = False
        own, found = sum_of(line), _decoded([line])
        if own is None:
            return self._without_sum(line + newline, found)
        starts = self._sums if self._is_summed else (*self._sums, AFTER_OLDER_LINES)
        matched = next((one for one in starts if zlib.crc32(line[:-SIZE], one) == own), None)
        after = zlib.crc32(line[-SIZE:] + newline, own)
        self._settle(next_continues=matched)
        self._is_summed = True
        if matched is None:
            self._sums = (after, *self._after_damage(line + newline))[:CANDIDATES]
            self._leave_out(ALTERED)
            return None
        self._sums = (after,)
        if found is None:
            self._leave_out(NO_EVENT, torn=True)
            return None
        return found[0]

    def _take_empty(self, newline: bytes) -> None:
        """Take in an empty line, which no writer leaves; or the newline that completes a line which lacked it."""
        after = tuple(zlib.crc32(newline, one) for one in self._sums)
        if self._lacks_newline:
            self._sums, self._lacks_newline = after, False
            return
        self.lines += 1
        self._sums = (*self._sums, *after)[:CANDIDATES]
        if self._is_summed:
            self._leave_out(FOREIGN, torn=True)

    def _without_sum(self, line: bytes, found: list[Event | None] | None) -> Event | None:
        is_older = not (self._is_summed or self.strict or KEY in line)
        before = self._sums
        # The next line continues after a line that its writer left torn, and before one that another program inserted.
        self._sums = (*self._after_damage(line), *before)[:CANDIDATES]
        if is_older and found is not None:
            self.unsummed += 1
            return found[0]
        if not has_sum_inside(line):
            self._undecided.append((len(self.damage), before, found is None))
        what = NO_EVENT if is_older else ALTERED if found is None else UNSUMMED
        self._leave_out(what, torn=is_older)
        return None

    def _after_damage(self, line: bytes) -> tuple[int, ...]:
        """Return the checksums from which the next line may continue after a line with a wrong checksum."""
        on = tuple(zlib.crc32(line, one) for one in self._sums)
        end = line.rfind(KEY)
        if end < 0:
            return on
        rights = (zlib.crc32(line[:end], one) for one in self._sums)  # if only the checksum is damaged
        return (*(zlib.crc32(b'%s%08x"}\n' % (KEY, one), one) for one in rights), *on)

    def _settle(self, *, next_continues: int | None) -> None:
        """Decide whether lines without a checksum are a loss, by where the next line continues.

        A torn line or garbage takes nothing with it if the next line is right. A whole event may be a recorded one that
        lost its checksum, unless the next line was written before it was inserted.
        """
        for index, before, is_no_event in self._undecided if next_continues is not None else ():
            if is_no_event or next_continues in before:
                what = NO_EVENT if is_no_event else FOREIGN
                self.damage[index] = replace(self.damage[index], what=what, torn=True)
        self._undecided.clear()

    def _leave_out(self, what: str, *, torn: bool = False) -> None:
        self.damage.append(Damage(file=self.path, line=self.lines, what=what, torn=torn))


def _decoded(lines: Sequence[bytes]) -> list[Event | None] | None:
    """Return the event of each line, None in place of one that this version does not know; None if one is no event."""
    try:
        return decode_all(lines)
    except ValueError:
        return None
