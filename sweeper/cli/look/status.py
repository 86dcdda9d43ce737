"""`sweeper status` and `sweeper why`: what the record says."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_run, existing, existing_trial, whole
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import console
from sweeper.cli.output import put
from sweeper.cli.setup.completers import completed_by, numbers
from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir

WATCH_EVERY_S, WATCH_PART = 1.0, 0.1
"""How often a sweep that is watched is looked at, and the most of the time that this may take."""
LINES = 50
"""Rows shown of a large sweep: running trials, then the last to end, then the next to start."""

if TYPE_CHECKING:
    from sweeper.service.answers import Answer


def add(commands: Commands) -> None:
    """Their arguments."""
    status = add_command(commands, "status", "Print the state of each trial of a run")
    add_run(status)
    how = status.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON")
    how.add_argument(
        "--watch", action="store_true", help="keep printing until the sweep ends; Ctrl-C does not stop the sweep"
    )
    status.add_argument("--all", action="store_true", help=f"print all trials (default: at most {LINES} lines)")
    status.set_defaults(run_command=_status)

    why = add_command(commands, "why", "Print the receipt of a trial, or what the search was told")
    add_run(why)
    completed_by(
        why.add_argument(
            "number", type=whole, nargs="?", metavar="NUMBER", help="number of a trial (default: the search)"
        ),
        numbers,
    )
    why.add_argument("--json", action="store_true", help="print the receipt as JSON")
    why.set_defaults(run_command=_why)


def _status(options: argparse.Namespace) -> int:
    from sweeper.results.status import read_sweep
    from sweeper.service.open_run import OpenRun
    from sweeper.views.terminal.sparklines import SparklineCache, can_draw
    from sweeper.views.terminal.table import rows_of, status_table

    if options.watch:
        return _watch(existing(options.run))
    if options.json:
        return _print(OpenRun(existing(options.run)).status())
    sweep = read_sweep(existing(options.run))
    terminal = console()
    height = None if options.all else LINES
    drawn = terminal.is_terminal and not options.all and can_draw(terminal.encoding)
    curves = SparklineCache().of(rows_of(sweep, height)) if drawn else {}
    terminal.print(status_table(sweep, width=terminal.width, height=height, curves=curves))
    return OK


def _watch(run: SweepDir) -> int:
    """The live table of a sweep that another process runs, from the record alone."""
    from sweeper.results.status import SweepReader
    from sweeper.views.terminal.live import show

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is put back for that too
    reader = SweepReader(run)
    with contextlib.suppress(KeyboardInterrupt), show(sys.stdout) as view:
        while True:
            begun = time.monotonic()
            sweep = reader.read()
            view.update(sweep)
            if sweep.state not in ("RUNNING", "PAUSED"):
                break
            time.sleep(max(WATCH_EVERY_S, (time.monotonic() - begun) / WATCH_PART))
    return OK


def _why(options: argparse.Namespace) -> int:
    from sweeper.record.ended import read_states
    from sweeper.results.told import read_search, search_text
    from sweeper.results.wording import folded
    from sweeper.service.open_run import OpenRun
    from sweeper.service.receipts import spec_of

    run = existing(options.run)
    if options.number is None:
        spec, wrong = spec_of(run)
        if spec is None:
            because = wrong or "this run has no search"
            raise UsageError(f"{run.path}: expected the number of a trial, because {because}")
        if options.json:
            raise UsageError(f"{run.path}: expected the number of a trial, because --json prints a receipt")
        print(folded(search_text(read_search(run, spec), read_states(run)[0]), sys.stdout), end="")
        return OK
    existing_trial(run, options.number)
    found = OpenRun(run).why(options.number)
    if options.json:
        return _print(found)
    text = "".join(f"{line}\n" for line in found.lines)
    damage = "".join(f"  {line}\n" for line in found.damage)
    text += f"\nDamage elsewhere in this run:\n{damage}" if damage else ""
    print(folded(text, sys.stdout))
    return OK


def _print(answer: Answer) -> int:
    """Print an answer of the service as JSON."""
    from sweeper.service.answers.encoding import to_text

    put(to_text(answer) + "\n")
    return OK
