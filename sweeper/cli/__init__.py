"""The command line: a module a command, which adds its own arguments and imports what it needs once it is called."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext

from sweeper import __version__
from sweeper.cli import (
    backtest,
    calibrate,
    check,
    compare,
    completion,
    doctor,
    export,
    init,
    logs,
    plan,
    report,
    reproduce,
    requests,
    run,
    status,
    steer,
    tensorboard,
)
from sweeper.cli import exec as exec_command
from sweeper.cli.codes import FAILED, INTERRUPTED, USAGE
from sweeper.cli.speech import in_words, warn
from sweeper.errors import SweeperError

COMMANDS = (
    init,
    check,
    plan,
    run,
    exec_command,
    status,
    logs,
    tensorboard,
    report,
    compare,
    reproduce,
    export,
    steer,
    requests,
    calibrate,
    backtest,
    doctor,
    completion,
)
"""In the order in which the documents list them."""

GROUPS = {
    "set up": ("init", "check", "plan", "schema", "doctor", "completion"),
    "run": ("run", "exec", "reproduce"),
    "look": ("status", "why", "logs", "tensorboard", "report", "compare", "export"),
    "steer": ("stop", "pause", "resume", "queue", "revive", "add"),
    "judge": ("backtest", "calibrate"),
}
"""The commands as `sweeper --help` groups them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code. A user's mistake is one clear sentence, never a traceback."""
    try:
        from sweeper.views.unattended import unattended

        options = _parsed(arguments)
        with unattended() if options.unattended else nullcontext():
            code: int = options.run_command(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can be said that nobody reads it
    except SweeperError as error:
        warn(str(error))
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:  # a disk says no where nobody expected it
        print(in_words(error), file=sys.stderr)
        return USAGE
    return code


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line taken apart. Overrides may stand behind options, where argparse does not look for them."""
    parser, known = _parser()
    completion.complete(parser)
    word = next(iter(sys.argv[1:] if arguments is None else arguments), "-")
    if not word.startswith("-") and word not in known:  # argparse would list all, and not say which one was meant
        near = difflib.get_close_matches(word, known, n=1)
        parser.error(
            f"there is no command {word!r}; {f'did you mean {near[0]}?' if near else '`sweeper --help` lists them'}"
        )
    options, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(options, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides = [*options.overrides, *rest]
    return options


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """The parser, and the names of the commands."""
    parser = argparse.ArgumentParser(
        prog="sweeper",
        usage="%(prog)s [--help] [--version] COMMAND ...",
        description="Run hyperparameter sweeps that stop failing training runs early, and record why.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sweeper {__version__}", help="print the version")
    parser.set_defaults(unattended=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help=argparse.SUPPRESS, prog="sweeper")
    for module in COMMANDS:
        module.add(commands)
    parser.epilog = _grouped(commands.choices)
    return parser, commands.choices


def _grouped(commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """Return the commands in their groups, each with its description, as lines of at most 80 columns."""
    lines = []
    for group, names in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:<13}{commands[name].description}" for name in names), ""]
    return "\n".join([*lines, "`sweeper COMMAND --help` describes a command."])
