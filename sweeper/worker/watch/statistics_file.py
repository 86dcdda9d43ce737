"""The file of per-tensor statistics, one row for each observation."""

from __future__ import annotations

import array
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from sweeper.record.storage import confined
from sweeper.record.storage.journal import append_whole
from sweeper.record.storage.layout import unwritable


class StatisticsFile:
    """A file with rows of equally many little-endian float32 values, written by one process."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending."""
        self._path = path
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.fdopen(confined.open_file(path, append), "ab", buffering=0)

    def append(self, values: Sequence[float]) -> tuple[int, int]:
        """Append a row; return its number and the CRC-32 of its bytes.

        Raises:
            Unwritable: the disk is full or gone; the file is unchanged.
        """
        row = array.array("f", values)
        if sys.byteorder == "big":
            row.byteswap()
        data = row.tobytes()
        size = os.fstat(self._file.fileno()).st_size
        filler = bytes(-size % len(data))  # completes a torn last row, so that rows stay aligned
        try:
            append_whole(self._file.fileno(), filler + data)
        except OSError as error:
            raise unwritable(self._path, error) from error
        return (size + len(filler)) // len(data), zlib.crc32(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
