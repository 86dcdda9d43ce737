"""Text columns and the ranking as tables for a terminal, with colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.record.trial import State
from sweeper.results.columns import GAP, Column, fitted
from sweeper.results.ranking import ranking_rows, remarks
from sweeper.results.snapshot import SweepView

STATE_STYLES: Mapping[State, str] = {
    State.WAITING: "dim",
    State.RUNNING: "cyan",
    State.PAUSED: "magenta",
    State.COMPLETE: "green",
    State.PRUNED: "yellow",
    State.FAIL: "bold red",
}


def rich_table(columns: Sequence[Column], styles: Sequence[str], rows: Sequence[str] = ()) -> Table:
    """Return the columns as a table for a terminal.

    Args:
        styles: the style of the cell in the column `state`, row by row.
        rows: the style of each whole row; empty for none.
    """
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


def ranking_table(sweep: SweepView, *, width: int = 80) -> RenderableType:
    """Return the ranking in `width` cells, and the remarks below it, which wrap."""
    columns, states = ranking_rows(sweep, width)
    table = rich_table(fitted(columns, width), [STATE_STYLES[state] for state in states])
    return Group(table, *(Text(line) for line in remarks(sweep)))
