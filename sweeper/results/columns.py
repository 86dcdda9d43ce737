"""Columns of plain text, fitted to a width; pure functions, shared by terminal tables and text files."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size

GAP = 2
"""Spaces between columns."""
SHORTEST = 6
"""Width below which a column is shortened only if no wider column is left."""
LONGEST_HEAD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of text.

    Args:
        give: the order in which columns are dropped if the table is too wide: the highest first, 0 never.
        right: whether cells are aligned to the right.
        firm: whether other columns are shortened before this one.
        instead: a narrower column that replaces this one when it is dropped.
        styles: the style of each cell, for terminals; empty for none.
        apart: whether different cells stay different when they are shortened, as far as there is room.
        whole: the cells before they were shortened; empty if they were not.
    """

    head: str
    cells: Sequence[str]
    give: int = 0
    right: bool = True
    firm: bool = False
    instead: Column | None = None
    styles: Sequence[str] = ()
    apart: bool = False
    whole: Sequence[str] = ()

    @property
    def width(self) -> int:
        """Return the width in terminal cells."""
        return max(cell_len(text) for text in (self.head, *self.cells))

    def padded(self, cell: str) -> str:
        """Return a cell padded to the width of the column."""
        return cell.rjust(self.width) if self.right else cell.ljust(self.width)

    def with_head(self, width: int) -> Column:
        """Return the column with its head shortened to `width` cells, or to the widest cell if that is wider."""
        room = max(width, *(cell_len(text) for text in self.cells), 0)
        return replace(self, head=shorten(self.head, room))

    def shortened(self, width: int) -> Column:
        """Return the column with head and cells shortened to `width` terminal cells."""
        whole = self.whole or self.cells
        cells = shorten_apart(whole, width) if self.apart else [shorten(cell, width) for cell in whole]
        return replace(self, head=shorten(self.head, width), cells=cells, whole=whole)


def lines_of(columns: Sequence[Column]) -> list[str]:
    """Return the columns as lines of plain text, the heads first."""
    rows = [[column.head for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    return [(" " * GAP).join(c.padded(cell) for cell, c in zip(row, columns, strict=True)).rstrip() for row in rows]


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns, in order, made to fit `width` terminal cells.

    First the heads are shortened, then columns are dropped, then cells are shortened.
    """
    # Columns wider than the terminal are cut at once, because the loop below removes one cell at a time.
    kept = [column if column.width <= width else column.shortened(width) for column in columns]
    if total_width(kept) > width:
        kept = [column.with_head(LONGEST_HEAD) for column in kept]
    while total_width(kept) > width and any(column.give for column in kept):
        place = max(range(len(kept)), key=lambda index: kept[index].give)
        instead = kept[place].instead
        kept[place : place + 1] = [] if instead is None else [instead]
    while total_width(kept) > width:
        soft = [column for column in kept if not column.firm and column.width > SHORTEST]
        widest = max(soft or kept, key=lambda column: column.width)
        if widest.width <= 1:
            break
        kept[kept.index(widest)] = widest.shortened(widest.width - 1)
    return kept


def shorten(text: str, width: int) -> str:
    """Return the text cut to `width` terminal cells, with ``…`` at the end if it was cut."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def shorten_apart(texts: Sequence[str], width: int) -> list[str]:
    """Return the texts cut to `width` terminal cells. Those that would then be equal keep their end instead.

    If that does not tell them apart either, they end with a checksum, as far as there is room.
    """
    chosen = {text: shorten(text, width) for text in texts}
    for other in (_without_middle, _with_checksum):
        counts = Counter(chosen.values())
        chosen = {text: other(text, width) if counts[cut] > 1 else cut for text, cut in chosen.items()}
    return [chosen[text] for text in texts]


def _without_middle(text: str, width: int) -> str:
    end = (width - 1) // 2
    tail = text[len(text) - end :]
    if cell_len(text) <= width or cell_len(tail) != end:  # wide characters are not counted out
        return shorten(text, width)
    return f"{set_cell_size(text, width - 1 - end)}…{tail}"


def _with_checksum(text: str, width: int) -> str:
    mark = f"#{zlib.crc32(text.encode(errors='surrogatepass')) & 0xFFFF:04x}"
    if cell_len(text) <= width or width <= len(mark) + 1:
        return shorten(text, width)
    return f"{shorten(text, width - len(mark))}{mark}"


def total_width(columns: Sequence[Column]) -> int:
    """Return the number of terminal cells that the columns and the gaps between them take."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)
