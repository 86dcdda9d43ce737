"""Columns of text, fitted to a width; for tables on a terminal and in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from sweeper.record.fold import State

STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.PAUSED: "magenta",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.FAIL: "bold red",
}
GAP = 2
SHORTEST = 6
LONGEST_HEAD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as text; `give` says when it gives way: the highest first, 0 never. A firm one is shortened last.

    `instead` is a narrower column that takes its place then. `styles` colours its cells.
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
        """Cells of the terminal it takes."""
        return max(cell_len(text) for text in (self.head, *self.cells))

    def placed(self, cell: str) -> str:
        """A cell in the width of the column."""
        return cell.rjust(self.width) if self.right else cell.ljust(self.width)

    def with_head(self, width: int) -> Column:
        """The same column with a head of at most `width` cells, or as wide as the widest cell."""
        room = max(width, *(cell_len(text) for text in self.cells), 0)
        return replace(self, head=shorten(self.head, room))

    def shortened(self, width: int) -> Column:
        """The same column in at most `width` cells."""
        return replace(self, head=shorten(self.head, width), cells=[shorten(cell, width) for cell in self.cells])


def table_of(columns: Sequence[Column], styles: Sequence[str], rows: Sequence[str] = ()) -> Table:
    """The columns as a table whose states are coloured by `styles`, and rows by `rows`, row by row."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column.head), justify="right" if column.right else "left", no_wrap=True)
    for row, style in enumerate(styles):
        cells = (Text(c.cells[row], style=_style(c, row, style)) for c in columns)
        table.add_row(*cells, style=rows[row] if rows else None)
    return table


def _style(column: Column, row: int, state: str) -> str:
    if column.styles:
        return column.styles[row]
    return state if column.head == "state" else ""


def lines_of(columns: Sequence[Column]) -> list[str]:
    """The columns as lines of plain text, their heads first."""
    rows = [[column.head for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    return [(" " * GAP).join(c.placed(cell) for cell, c in zip(row, columns, strict=True)).rstrip() for row in rows]


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit, in their order: heads are shortened first, then columns go, then text is shortened."""
    # What is longer than the terminal is cut at once: below, a column loses a cell at a time.
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
    """The text in at most `width` cells of a terminal."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def total_width(columns: Sequence[Column]) -> int:
    """Return the number of terminal cells that the columns and the gaps between them take."""
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)
