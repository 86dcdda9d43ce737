"""`sweeper check FILE` and `sweeper schema`: whether a sweep file is right, for people, editors and programs."""

from __future__ import annotations

import argparse
import json
import os

from sweeper.cli.arguments import RUNS, Commands, add_command, add_file, source_of, spec_of, warn_of_variables
from sweeper.cli.exit_codes import OK, USAGE
from sweeper.cli.messages import say
from sweeper.cli.output import put


def add(commands: Commands) -> None:
    """Their arguments."""
    check = add_command(commands, "check", "Check a sweep file and list every mistake in it")
    add_file(check)
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run_command=_check)

    schema = add_command(commands, "schema", "Print the JSON Schema of sweep files, or of what --json prints")
    schema.add_argument(
        "--json-output", action="store_true", help="schema of what --json prints (default: that of sweep files)"
    )
    schema.set_defaults(run_command=_schema)


def _check(options: argparse.Namespace) -> int:
    from sweeper.executors.gpus.devices import cuda_devices
    from sweeper.preflight.known import known_lines
    from sweeper.preflight.summary import size_text, sources_lines

    if options.json:
        from sweeper.service.answers.encoding import to_text
        from sweeper.service.machine import check

        found = check(source_of(options))
        put(to_text(found) + "\n")
        return OK if found.valid else USAGE
    spec = spec_of(options, cuda_devices(os.environ))
    warn_of_variables(spec)
    profile = f", profile {spec.profile}" if spec.profile is not None else ""
    known = known_lines(spec, RUNS)
    say(f"{options.file}: no mistakes{profile}; {size_text(spec)}")
    for line in (*known, *sources_lines(spec)):
        say(f"{options.file}: {line}")
    return OK


def _schema(options: argparse.Namespace) -> int:
    if options.json_output:
        from sweeper.service.schema import schema as made
    else:
        from sweeper.config.write.schema import schema as made

    put(json.dumps(made(), indent=1) + "\n")
    return OK
