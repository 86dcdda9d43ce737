"""`sweeper status` and `sweeper why`: what the record says."""

from __future__ import annotations

import argparse
import json
import sys

from sweeper.cli.arguments import Commands, add_run, add_trial, existing, existing_trial
from sweeper.cli.codes import OK
from sweeper.cli.speech import console

LINES = 50
"""What is shown of a large sweep: who runs, who ended last, who starts next."""


def add(commands: Commands) -> None:
    """Their arguments."""
    status = commands.add_parser("status", help="what became of each trial, from the record alone")
    add_run(status)
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--all", action="store_true", help=f"every trial, not {LINES} lines of them at most")
    status.set_defaults(run_command=_status)

    why = commands.add_parser("why", help="the receipt of one trial: how it ended, and on what evidence")
    add_trial(why)
    why.set_defaults(run_command=_why)


def _status(options: argparse.Namespace) -> int:
    from sweeper.views.status import read_sweep, to_json
    from sweeper.views.table import status_table

    sweep = read_sweep(existing(options.run))
    if options.json:
        print(json.dumps(to_json(sweep), indent=1))
    else:
        terminal = console()
        height = None if options.all else LINES
        terminal.print(status_table(sweep, width=terminal.width, height=height))
    return OK


def _why(options: argparse.Namespace) -> int:
    from sweeper.record.recall import read_states
    from sweeper.record.trial import read_trial
    from sweeper.views.receipt import receipt
    from sweeper.views.wording import folded

    directory = existing_trial(existing(options.run), options.number)
    known, _ = read_states(existing(options.run))
    siblings = [trial for trial in known if trial.facts.number != options.number]
    print(folded(receipt(read_trial(directory), siblings), sys.stdout))
    return OK
