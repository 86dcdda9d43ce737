"""Checksums of the record, since format 3: what was written is what is read, or the damage has a place.

1. *Lines.* The last key of a line of a journal is `crc`, the CRC-32 of all bytes of the file before that key. So one
   comparison verifies everything that was appended since the last reading, and a line that was dropped, repeated or
   moved is noticed at the line after it. A writer continues from the last checksum, so it reads only the file's end.
2. *Files.* The last key of a JSON file is `crc`, the CRC-32 of the bytes before that key. It must be there if the file
   names a format that has checksums. If `trial.json` does, each line of a journal must have one.
3. *Older records* have no checksums and are read as before. The first line that is appended to an older journal starts
   from `AFTER_OLDER_LINES` instead of 0, so that a missing checksum is not taken for an older line.

CRC-32 finds every change of up to 32 neighbouring bits, and any other change but one in four billion. It protects from
accidents, not from a forger.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUMMED = 3
"""The first format with checksums."""

AFTER_OLDER_LINES = 0x6F6C6465
"""Where the checksums of a journal start that had lines without checksums before."""

KEY, KEY_OF_FILE = b',"crc":"', "crc"
SIZE = len(b',"crc":"01234567"}')
"""Length in bytes of the end of a line: the key, its value and the brace."""

_LINE_END = re.compile(rb',"crc":"([0-9a-f]{8})"}')
_FILE_END = re.compile(rb',\s*"crc":\s*"([0-9a-f]{8})"\s*}\s*\Z')


class Altered(ValueError):
    """A file is not as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A place where the record is not as it was written.

    Attributes:
        file: the damaged file.
        line: the number of the line, from 1; 0 for the whole file.
        what: what is wrong.
        torn: whether a writer that was killed may have left it so, and nothing that was recorded is missing.
    """

    file: Path
    line: int
    what: str
    torn: bool = False

    def __str__(self) -> str:
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.what}"


# ---- lines --------------------------------------------------------------------------------------------------------


def summed(line: bytes, before: int) -> tuple[bytes, int]:
    """Return a line with its checksum, and the checksum of the file up to the end of it.

    Args:
        line: a JSON object and a newline.
        before: the checksum of the file before the line.
    """
    body = line[:-2]
    checksum = zlib.crc32(body, before)
    end = b',"crc":"%08x"}\n' % checksum
    return body + end, zlib.crc32(end, checksum)


def sum_of(line: bytes) -> int | None:
    """Return the checksum at the end of a line without its newline; None if there is none."""
    found = _LINE_END.fullmatch(line[-SIZE:])
    return None if found is None else int(found[1], 16)


def has_sum_inside(line: bytes) -> bool:
    """Whether a complete checksum stands in a line, at its end or before it: the line was once written completely."""
    return _LINE_END.search(line) is not None


def continued(end: bytes) -> int | None:
    """Return the checksum of a file from its last bytes; None if there is no checksum in them."""
    place = len(end)
    while (place := end.rfind(KEY, 0, place)) >= 0:
        found = _LINE_END.match(end, place)
        if found is not None and end[found.end() : found.end() + 1] in (b"", b"\n"):
            return zlib.crc32(memoryview(end)[place:], int(found[1], 16))
    return None


# ---- files --------------------------------------------------------------------------------------------------------


def sealed(text: bytes) -> bytes:
    """Return the text of a JSON object, which is not empty, with its checksum as the last key."""
    body = text.rstrip()[:-1].rstrip()
    checksum = zlib.crc32(body)
    return body + (b',\n "crc": "%08x"\n}\n' if b"\n" in body else b',"crc":"%08x"}\n') % checksum


def unsealed(data: bytes) -> dict[str, object]:
    """Return the JSON object in a file without its checksum, which is verified; a file of an older format has none.

    Raises:
        Altered: it is not a JSON object, or not as it was written.
        ValueError: it is not JSON.
    """
    found = _FILE_END.search(data)
    if found is not None and zlib.crc32(memoryview(data)[: found.start()]) != int(found[1], 16):
        raise Altered("its content does not match its checksum: it was altered after it was written")
    value = json.loads(data)
    if not isinstance(value, dict):
        raise Altered(f"expected a JSON object, got {type(value).__name__}")
    if found is None and (KEY_OF_FILE in value or needs_sum(value)):
        raise Altered("its checksum is missing: it was altered after it was written")
    value.pop(KEY_OF_FILE, None)
    return value


def has_sum(data: bytes) -> bool:
    """Whether a JSON file ends with a checksum."""
    return _FILE_END.search(data) is not None


def needs_sum(value: Mapping[str, object]) -> bool:
    """Whether a JSON object is of a format that has checksums."""
    number = value.get("format")
    return isinstance(number, int) and number >= SUMMED
