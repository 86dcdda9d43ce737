"""`sweeper check FILE` and `sweeper schema`: whether a sweep file is right, for people and for editors."""

from __future__ import annotations

import argparse
import json
import os

from sweeper.cli.arguments import Commands, add_command, add_file, spec_of
from sweeper.cli.codes import OK
from sweeper.cli.speech import say


def add(commands: Commands) -> None:
    """Their arguments."""
    check = add_command(commands, "check", "Check a sweep file and list every mistake in it")
    add_file(check)
    check.set_defaults(run_command=_check)

    schema = add_command(commands, "schema", "Print the JSON Schema of sweep files, for editors")
    schema.set_defaults(run_command=_schema)


def _check(options: argparse.Namespace) -> int:
    from sweeper.executors.devices import cuda_devices
    from sweeper.orchestrator.preflight import size_text

    spec = spec_of(options, cuda_devices(os.environ))
    profile = f", profile {spec.profile}" if spec.profile is not None else ""
    say(f"{options.file}: no mistakes{profile}; {size_text(spec)}")
    return OK


def _schema(_: argparse.Namespace) -> int:
    from sweeper.spec.schema import schema

    print(json.dumps(schema(), indent=1))
    return OK
