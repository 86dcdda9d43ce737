"""`sweeper completion SHELL`: what a shell has to read so that Tab completes `sweeper`; by argcomplete."""

from __future__ import annotations

import argparse
import os
import sys

from sweeper.cli.arguments import Commands, add_command
from sweeper.cli.codes import FAILED, OK
from sweeper.errors import ExtraMissing

SHELLS = ("bash", "zsh", "fish")
USE = 'Use it with: eval "$(sweeper completion bash)"'
ASKED = "_ARGCOMPLETE"
"""The variable by which a shell that completes is known."""


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(
        commands, "completion", "Print the code with which a shell completes sweeper by Tab", epilog=USE
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"shell: {', '.join(SHELLS)}")
    parser.set_defaults(run_command=_completion)


def _completion(options: argparse.Namespace) -> int:
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError as error:
        raise ExtraMissing("sweeper completion", "argcomplete", "completion") from error
    print(shellcode(["sweeper"], shell=options.shell))
    return OK


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit."""
    if ASKED in os.environ:
        try:
            from argcomplete import autocomplete
        except ImportError:  # a message here would appear in the middle of what the user types
            sys.exit(FAILED)
        autocomplete(parser, always_complete_options=False)
