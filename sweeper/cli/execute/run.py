"""`sweeper run FILE`: run a sweep, or resume it."""

from __future__ import annotations

import argparse
import os
import time

from sweeper.cli.arguments import Commands, add_author, add_command, add_file, add_runs, add_slots, machine_of, spec_of
from sweeper.cli.execute.orchestrate import orchestrate
from sweeper.cli.messages import say


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "run", "Run the sweep of a file, or resume it")
    add_file(parser)
    add_runs(parser)
    add_slots(parser, starts=True)
    add_author(parser)
    parser.set_defaults(run_command=_run, survive_disconnect=True)


def _run(options: argparse.Namespace) -> int:
    from sweeper.config import repair_text
    from sweeper.executors.choice import require_library, require_variables
    from sweeper.orchestrator.opening import open_run
    from sweeper.preflight.provenance import provenance
    from sweeper.record.events import CommandGiven
    from sweeper.record.storage.inbox import person
    from sweeper.record.storage.journal import JournalWriter
    from sweeper.search import require_libraries

    machine = machine_of(options)
    spec = spec_of(options, machine.devices)
    require_library(spec)
    require_libraries(spec)
    require_variables(spec, os.environ)
    _say_profile(spec.profile, spec.profile_description)
    if changed := repair_text(spec):
        say(changed)
    run = open_run(
        spec,
        text=options.file.read_bytes(),
        runs=options.runs,
        provenance=lambda: provenance(
            folder=options.file.absolute().parent, devices=machine.devices, cores=machine.cores
        ),
        say=say,
        file=options.file,
    )
    if options.by or options.because:
        with JournalWriter(run.directory.log) as log:
            by = options.by or person()
            log.append(CommandGiven(do="run", by=by, because=options.because, time=time.time()))
    return orchestrate(run, machine)


def _say_profile(name: str | None, description: str) -> None:
    if name is not None:
        say(f"profile {name}: {description}" if description else f"profile {name}")
