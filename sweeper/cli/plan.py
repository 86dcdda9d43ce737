"""`sweeper plan FILE`: what a sweep is going to do."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from sweeper.cli.arguments import Commands, add_file, existing, positive, spec_of
from sweeper.cli.codes import OK


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = commands.add_parser("plan", help="what a sweep file is going to do; starts nothing, writes nothing")
    add_file(parser)
    parser.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="RUN", help="recorded runs to learn from"
    )
    parser.add_argument("--examples", type=positive, metavar="N", help="training examples (of the prepared data)")
    parser.set_defaults(run_command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cuda_devices
    from sweeper.orchestrator.preflight import examples_of, preflight_text, recorded

    spec = spec_of(options, cuda_devices(os.environ))
    runs = {run.resolve(): existing(run) for run in options.against}  # each counts once
    against = [trial for run in runs.values() for trial in recorded(run)]
    examples = examples_of(spec, options.examples)
    print(preflight_text(spec, examples=examples, against=against), end="")
    return OK
