"""What the command line says; nothing that others wrote acts on a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from sweeper.errors import SweeperError
from sweeper.record.storage.layout import SweepDir, reason_of

if TYPE_CHECKING:
    from rich.console import Console


def say(text: str) -> None:
    """Print a text, on a terminal folded between words."""
    print(_shown(text, sys.stdout), flush=True)


def warn(text: str) -> None:
    """Print a text where errors go, folded likewise."""
    print(_shown(text, sys.stderr), file=sys.stderr, flush=True)


def console(width: int | None = None) -> Console:
    """The console that tables are printed on; `width` in columns, by default the terminal's."""
    from sweeper.views.terminal.console import make_console

    return make_console(width=width)


def print_ranking(run: SweepDir) -> None:
    """Print how the trials of a run rank."""
    from sweeper.results.ranking import ranking_text
    from sweeper.results.status import read_sweep
    from sweeper.views.terminal.rich_tables import ranking_table

    terminal, sweep = console(), read_sweep(run)
    if terminal.is_terminal:
        terminal.print(ranking_table(sweep, width=terminal.width))
    else:
        print(ranking_text(sweep))


def in_words(error: OSError) -> str:
    """An error of the operating system as a sentence."""
    if isinstance(error, SweeperError):
        return str(error)
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "standard output"
    return f"{where}: {reason_of(error)}, then call again"


def _shown(text: str, stream: TextIO | None) -> str:
    """Lines that may quote what others wrote, so that none of it acts on a terminal."""
    from sweeper.results.wording import folded, plain

    lines = "\n".join(plain(line) for line in text.split("\n"))
    return lines if stream is None else folded(lines, stream)
