"""Columns of plain text, fitted to a width; pure functions, shared by terminal tables and text files."""

from __future__ import annotations

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
    """

    head: str
    cells: Sequence[str]
    give: int = 0
    right: bool = True
    firm: bool = False
    instead: Column | None = None
    styles: Sequence[str] = ()

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
        return replace(self, head=shorten(self.head, width), cells=[shorten(cell, width) for cell in self.cells])


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


def total_width(columns: Sequence[Column]) -> int:
    """Return the number of terminal cells that the columns and the gaps between them take."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)
