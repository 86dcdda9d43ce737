"""`sweeper ui [RUNS]`: the runs of a folder as a live page."""

from __future__ import annotations

import argparse
from pathlib import Path

from sweeper.cli.arguments import RUNS, Commands, add_command, port
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import warn
from sweeper.cli.setup.completers import completed_by, runs
from sweeper.errors import UsageError


def add(commands: Commands) -> None:
    """Its arguments."""
    needs = 'Needs the extra ui: pip install "sweeper[ui]"'
    parser = add_command(commands, "ui", "Show runs in a live page of this machine", epilog=needs)
    completed_by(
        parser.add_argument(
            "runs",
            type=Path,
            nargs="?",
            default=RUNS,
            metavar="RUNS",
            help="directory of the runs, or of one run (default: runs)",
        ),
        runs,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=port, help="port to listen on; 0 for any free port (default: the first free one from 8787)"
    )
    parser.set_defaults(run_command=_ui)


def _ui(options: argparse.Namespace) -> int:
    from sweeper.ui.server import require, serve

    require()
    if not options.runs.is_dir():
        raise UsageError(
            f"{options.runs}: expected the directory of runs, as in runs, or of one run, as in runs/warmup"
        )
    # The address is printed as it is: it must not be folded, and its token must not be redacted.
    serve(options.runs, host=options.host, port=options.port, say=lambda text: print(text, flush=True), warn=warn)
    return OK
