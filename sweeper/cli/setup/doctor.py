"""`sweeper doctor`: what of this machine a sweep will meet, what is wrong, and what to do."""

from __future__ import annotations

import argparse
import os

from sweeper.cli.arguments import Commands, add_command, add_runs
from sweeper.cli.exit_codes import FAILED, OK
from sweeper.cli.messages import say
from sweeper.cli.output import put


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "doctor", "Check this machine for problems, and print what to do about them")
    add_runs(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run_command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from sweeper.preflight.doctor import Level, examine

    if options.json:
        from sweeper.service.answers.encoding import to_text
        from sweeper.service.machine import doctor

        found = doctor(options.runs)
        put(to_text(found) + "\n")
        return OK if found.ready else FAILED
    worst = OK
    for finding in examine(options.runs, os.environ):
        say(f"{finding.level.value:<8} {finding.subject}: {finding.text}")
        if finding.advice:
            say(f"{'':<8} {finding.advice}")
        worst = FAILED if finding.level is Level.TROUBLE else worst
    return worst
