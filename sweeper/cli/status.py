"""`sweeper status` and `sweeper why`: what the record says."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time

from sweeper.cli.arguments import Commands, add_command, add_run, add_trial, existing, existing_trial
from sweeper.cli.codes import OK
from sweeper.cli.speech import console
from sweeper.record.layout import SweepDir

WATCH_EVERY_S, WATCH_PART = 1.0, 0.1
"""How often a sweep that is watched is looked at, and the most of the time that this may take."""
LINES = 50
"""What is shown of a large sweep: who runs, who ended last, who starts next."""


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

    why = add_command(commands, "why", "Print the receipt of a trial: how it ended, and on what evidence")
    add_trial(why)
    why.set_defaults(run_command=_why)


def _status(options: argparse.Namespace) -> int:
    from sweeper.views.curves import Curves, can_draw
    from sweeper.views.status import read_sweep, to_json
    from sweeper.views.table import rows_of, status_table

    if options.watch:
        return _watch(existing(options.run))
    sweep = read_sweep(existing(options.run))
    if options.json:
        print(json.dumps(to_json(sweep), indent=1))
        return OK
    terminal = console()
    height = None if options.all else LINES
    drawn = terminal.is_terminal and not options.all and can_draw(terminal.encoding)
    curves = Curves().of(rows_of(sweep, height)) if drawn else {}
    terminal.print(status_table(sweep, width=terminal.width, height=height, curves=curves))
    return OK


def _watch(run: SweepDir) -> int:
    """The live table of a sweep that another process runs, from the record alone."""
    from sweeper.views.live import show
    from sweeper.views.status import SweepReader

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
    from sweeper.record.recall import read_states
    from sweeper.views.health import read_diagnosed
    from sweeper.views.receipt import receipt
    from sweeper.views.wording import folded

    directory = existing_trial(existing(options.run), options.number)
    known, _ = read_states(existing(options.run))
    siblings = [trial for trial in known if trial.facts.number != options.number]
    print(folded(receipt(read_diagnosed(directory), siblings), sys.stdout))
    return OK
