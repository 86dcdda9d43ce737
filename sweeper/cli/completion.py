"""`sweeper completion SHELL`: what a shell has to read so that Tab completes `sweeper`; by argcomplete."""

from __future__ import annotations

import argparse
import os

from sweeper.cli.arguments import Commands
from sweeper.cli.codes import OK

SHELLS = ("bash", "zsh", "fish")
ASKED = "_ARGCOMPLETE"
"""The variable by which a shell that completes is known."""


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = commands.add_parser("completion", help='completion by Tab: eval "$(sweeper completion bash)"')
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(run_command=_completion)


def _completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["sweeper"], shell=options.shell))
    return OK


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, where it is a shell that asks."""
    if ASKED in os.environ:
        from argcomplete import autocomplete

        autocomplete(parser, always_complete_options=False)
