"""`sweeper init SCRIPT`: a first sweep file, from what a script or a function takes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sweeper.cli.arguments import Commands
from sweeper.cli.codes import OK
from sweeper.cli.speech import say, warn
from sweeper.errors import UsageError


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = commands.add_parser("init", help="write a commented sweep file from a script's own arguments")
    parser.add_argument("target", metavar="SCRIPT", help="a script, or a function as package.module:function")
    parser.add_argument(
        "given", nargs="*", metavar="NAME=VALUE", help="of arguments, above all those without a default"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where it is written (SCRIPT's name .yaml); - to print"
    )
    parser.set_defaults(run_command=_init)


def _init(options: argparse.Namespace) -> int:
    from sweeper.preflight.draft import draft

    given = dict(word.partition("=")[::2] for word in options.given if "=" in word)
    if len(given) < len(options.given):
        wrong = next(word for word in options.given if "=" not in word)
        raise UsageError(f"expected NAME=VALUE, got {wrong}")
    made = draft(options.target, given)
    for line in made.unread:
        warn(f"could not be read, so it is not in the file: {line}")
    if options.out == Path("-"):
        sys.stdout.write(made.text)
        return OK
    return _write(options.out or Path(f"{made.name}.yaml"), made.text)


def _write(path: Path, text: str) -> int:
    """Write the file, and look that it is right; a file that is there stays."""
    from sweeper.cli.arguments import spec_of
    from sweeper.executors.gpus.devices import cuda_devices
    from sweeper.preflight.summary import size_text

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path}: is there already; write elsewhere with --out") from None
    try:
        options = argparse.Namespace(file=path, overrides=[], profile=None)
        spec = spec_of(options, cuda_devices(os.environ))
    except UsageError as error:
        path.unlink()
        raise UsageError(f"no file was written, since it would not be right:\n{error}") from None
    say(f"{path}: written; {size_text(spec)}. Say what to vary, then `sweeper run {path}`")
    return OK
