"""`sweeper compare RUN RUN`: sweeps side by side."""

from __future__ import annotations

import argparse
import string
from pathlib import Path

from sweeper.cli.arguments import Commands, add_command, existing
from sweeper.cli.codes import OK
from sweeper.cli.speech import console, say
from sweeper.errors import UsageError

FEWEST, MOST = 2, len(string.ascii_uppercase)
WIDE = 1000
"""Columns where there is no terminal."""


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "compare", "Compare runs: what differs, and which is better")
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="directory of a run; two or more, each compared with the first",
    )
    parser.set_defaults(run_command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from sweeper.orchestrator.studies import spec_of
    from sweeper.record.layout import read_json
    from sweeper.views.comparison import Side, comparison_text
    from sweeper.views.status import read_sweep

    if not FEWEST <= len(options.runs) <= MOST:
        raise UsageError(f"sweeper compare: expected {FEWEST} to {MOST} runs, got {len(options.runs)}")
    sides = []
    for letter, path in zip(string.ascii_uppercase, options.runs, strict=False):
        run = existing(path)
        origin = read_json(run.spec).get("provenance")
        kept = origin if isinstance(origin, dict) else {}
        sides.append(Side(letter=letter, path=str(path), sweep=read_sweep(run), spec=spec_of(run), origin=kept))
    terminal = console()
    width = terminal.width if terminal.is_terminal else WIDE
    say(comparison_text(sides, width=width).rstrip("\n"))
    return OK
