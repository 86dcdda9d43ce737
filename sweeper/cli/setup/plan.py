"""`sweeper plan FILE`: what a sweep is going to do."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from sweeper.cli.arguments import (
    Commands,
    add_command,
    add_file,
    add_runs,
    existing,
    positive,
    source_of,
)
from sweeper.cli.exit_codes import OK
from sweeper.cli.setup.completers import completed_by, runs

WIDTH = 80


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "plan", "Print what a sweep file would run, with its time and disk use")
    add_file(parser)
    add_runs(parser)
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="number of concurrent trials (default: as many as fit)"
    )
    against = parser.add_argument(
        "--against",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="recorded runs to estimate from (default: none)",
    )
    completed_by(against, runs)
    parser.add_argument(
        "--examples",
        type=positive,
        metavar="N",
        help="number of training examples (default: that of the prepared data)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run_command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from sweeper.cli.messages import warn
    from sweeper.cli.output import put
    from sweeper.results.wording import plain
    from sweeper.service.answers.encoding import to_text
    from sweeper.service.machine import plan

    against = [existing(run) for run in options.against]
    found = plan(source_of(options), workers=options.workers, against=against, examples=options.examples)
    if options.json:
        put(to_text(found) + "\n")
        return OK
    for line in found.warnings:
        warn(line)
    print("\n".join([*found.summary, ""]))
    for line in found.notes:
        print(_folded(f"{line}."))
    for head, text in (("where", found.slots), ("time", found.time), ("disk", found.disk)):
        print(_folded(plain(f"{head:<5}  {text}.")))
    return OK


def _folded(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False)
