"""`sweeper wait RUN --for EVENT`: wait for something in a run, for scripts."""

from __future__ import annotations

import argparse

from sweeper.cli.arguments import Commands, add_command, add_run, existing, seconds
from sweeper.cli.exit_codes import FAILED, OK, TIMEOUT
from sweeper.cli.messages import say
from sweeper.cli.output import put


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "wait", "Wait for something in a run: its end, a flag, a trial or a step")
    add_run(parser)
    parser.add_argument(
        "--for",
        dest="event",
        default="end",
        metavar="EVENT",
        help="end, flag, trial:NUMBER or step:NUMBER:STEP (default: end)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"maximum wait, after which the exit code is {TIMEOUT} (default: none)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run_command=_wait)


def _wait(options: argparse.Namespace) -> int:
    from sweeper.service import waiting
    from sweeper.service.answers.encoding import to_text

    found = waiting.wait(existing(options.run), options.event, timeout=options.timeout)
    if options.json:
        put(to_text(found) + "\n")
    else:
        say(found.text)
    return {waiting.HAPPENED: OK, waiting.TIMEOUT: TIMEOUT}.get(found.outcome, FAILED)
