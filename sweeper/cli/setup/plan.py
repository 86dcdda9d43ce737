"""`sweeper plan FILE`: what a sweep is going to do."""

from __future__ import annotations

import argparse
import os
import shutil
import textwrap
from pathlib import Path

from sweeper.cli.arguments import (
    Commands,
    add_command,
    add_file,
    add_runs,
    existing,
    positive,
    spec_of,
    warn_of_variables,
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
    parser.set_defaults(run_command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine
    from sweeper.preflight.estimate import capacity_of, disk_text, precedents, time_text
    from sweeper.preflight.known import known_lines
    from sweeper.preflight.summary import examples_of, preflight_text, recorded
    from sweeper.results.wording import plain

    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), workers=options.workers)
    spec = spec_of(options, machine.devices)
    warn_of_variables(spec)
    known = {run.resolve(): existing(run) for run in options.against}  # each counts once
    against = [trial for run in known.values() for trial in recorded(run)]
    examples = examples_of(spec, options.examples)
    known_settings = known_lines(spec, options.runs)
    print(preflight_text(spec, examples=examples, against=against))
    for line in known_settings:
        print(textwrap.fill(f"{line}.", WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False))
    found, where = precedents(spec, known.values()), capacity_of(spec, machine)
    place = next(path for path in (options.runs, *options.runs.absolute().parents) if path.is_dir())
    said = {
        "where": where.text,
        "time": time_text(spec, found, examples=examples[1] if examples else None, concurrent=where.count),
        "disk": disk_text(spec, found, free=shutil.disk_usage(place).free),
    }
    for head, text in said.items():
        print(textwrap.fill(plain(f"{head:<5}  {text}."), WIDTH, subsequent_indent=" " * 7, break_on_hyphens=False))
    return OK
