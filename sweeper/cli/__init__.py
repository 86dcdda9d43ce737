"""The command line: a module a command, which adds its own arguments and imports what it needs once it is called."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Collection, Sequence
from contextlib import nullcontext

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
"""In the order in which the help lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code. A user's mistake is one clear sentence, never a traceback."""
    try:
        from sweeper.views.terminal.detached import unattended

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
    parser = argparse.ArgumentParser(prog="sweeper", description="Sweeps that stop stalled runs early, and say why.")
    parser.set_defaults(unattended=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser, commands.choices
