"""Read columns of a CSV file as it grows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sweeper.config import CsvSource
from sweeper.orchestrator.collect.reading import FileReader, NotANumber, Reading, lines_of, number_of, step_of

DELIMITERS = ",;\t"
LONGEST_HEAD = 1 << 16


@dataclass(slots=True)
class CsvReader(FileReader):
    """Reads the columns of `wanted`, by metric. The first line that is no comment has the names of the columns.

    A later line with the same names, or with other names, is a header too: a retry may write it again.
    """

    wanted: Mapping[str, CsvSource] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    _delimiter: str = ","

    def read(self, fd: int, size: int, *, final: bool) -> Iterator[Reading]:
        """Yield the values of each row, as in `FileReader.read`."""
        if self.offset and not self.columns:  # it goes on where an earlier orchestrator stopped
            head = os.pread(fd, min(size, LONGEST_HEAD), 0).decode(errors="replace").splitlines()
            self._is_head(next((line for line in head if _has_cells(line)), ""))
        for end, line in lines_of(fd, self.offset, size, final=final):
            if _has_cells(line) and not self._is_head(line):
                yield from self._row(self._cells(line), end)
            self.offset = end

    def restart(self) -> None:
        """Begin anew, with another header."""
        self.offset, self.columns = 0, []

    def _is_head(self, line: str) -> bool:
        """Return whether the line has the names of columns, and take them."""
        if not self.columns:
            line = line.lstrip("\ufeff")
            self._delimiter = max(DELIMITERS, key=line.count)
        cells = self._cells(line)
        if self.columns and cells != self.columns and not any(one.column in cells for one in self.wanted.values()):
            return False
        self.columns = cells
        self.see([name for name in cells if name])
        return True

    def _cells(self, line: str) -> list[str]:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter), [])]
        except csv.Error:
            return []

    def _row(self, cells: list[str], end: int) -> Iterator[Reading]:
        row = dict(zip(self.columns, cells, strict=False))
        found: dict[int | None, dict[str, float]] = {}
        for metric, source in self.wanted.items():
            text = row.get(source.column, "")
            if not text:  # this row has no value of that column, or the file no such column
                continue
            try:
                value = number_of(text)
            except NotANumber as error:
                self.problems[metric] = f"expected a number in the column {source.column}, got {error}"
                continue
            found.setdefault(self._step(metric, source, row), {})[metric] = value
        for step, values in found.items():
            yield Reading(end, values, step)

    def _step(self, metric: str, source: CsvSource, row: Mapping[str, str]) -> int | None:
        if source.step is None:
            return None
        if source.step not in row:
            self.problems[metric] = f"there is no column {source.step} for the step"
            return None
        try:
            return step_of(row[source.step])
        except NotANumber as error:
            self.problems[metric] = f"expected a whole number in the column {source.step}, got {error}"
            return None


def _has_cells(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")
