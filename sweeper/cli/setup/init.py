"""`sweeper init SCRIPT` writes a first sweep file for a script or a function; `--example` writes a shipped example."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from sweeper.cli.arguments import Commands, add_command
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say, warn
from sweeper.cli.output import put
from sweeper.cli.setup import examples
from sweeper.errors import UsageError


def add(commands: Commands) -> None:
    """Add the arguments of `sweeper init`."""
    parser = add_command(
        commands,
        "init",
        "Write a sweep file for a script, or the files of an example",
        usage="%(prog)s SCRIPT [NAME=VALUE ...] [--out FILE]\n       %(prog)s --example NAME [--out DIR]",
    )
    # One list, because argparse takes optional positional arguments for absent when an option comes before them.
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SCRIPT [NAME=VALUE ...]",
        help="script, or function as package.module:function; then values of its arguments "
        "(required for arguments without a default)",
    )
    parser.add_argument(
        "--example",
        choices=list(examples.EXAMPLES),
        metavar="NAME",
        help=f"example to write instead, with its script: {', '.join(examples.EXAMPLES)}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="file to write, or - for standard output (default: SCRIPT's name .yaml); with --example, the directory "
        "for its files (default: the current directory)",
    )
    parser.set_defaults(run_command=_init)


def _init(options: argparse.Namespace) -> int:
    words: list[str] = options.overrides
    if options.example is not None:
        if words:
            raise UsageError(f"sweeper init --example: expected no script beside it, got {words[0]}")
        return _write_example(options.example, options.out or Path())
    if not words:
        raise UsageError(
            "sweeper init: expected a script, as in `sweeper init train.py`, or --example NAME; got neither"
        )
    return _write_draft(words[0], words[1:], options.out)


def _write_example(name: str, folder: Path) -> int:
    written = examples.write(name, folder)
    for path in written:
        say(f"{path}: written")
    note = examples.note(name)
    if note:
        say(note)
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    say(f"Next: {there}sweeper run {written[0].name}")
    return OK


def _write_draft(target: str, given: list[str], out: Path | None) -> int:
    from sweeper.preflight.draft import draft

    values = dict(word.partition("=")[::2] for word in given if "=" in word)
    if len(values) < len(given):
        wrong = next((word for word in given if "=" not in word), given[-1])
        raise UsageError(f"expected NAME=VALUE, got {wrong}")
    made = draft(target, values)
    for line in made.unread:
        warn(f"could not be read, so it is not in the file: {line}")
    for text in made.to_do:
        warn(f"left to do: {text}")
    if out == Path("-"):
        put(made.text)
        return OK
    return _write(out or Path(f"{made.name}.yaml"), made.text)


def _write(path: Path, text: str) -> int:
    """Write the file and check it; a file that exists stays."""
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
        spec = spec_of(options, cuda_devices(os.environ), inspect=False)
    except UsageError as error:
        path.unlink()
        raise UsageError(f"no file was written, since it would not be right:\n{error}") from None
    say(f"{path}: written; {size_text(spec)}. To vary more, edit it. Next: `sweeper run {path}`")
    return OK
