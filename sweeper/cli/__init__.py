"""The command line: a module a command, which adds its own arguments and imports what it needs once it is called."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from sweeper import __version__
from sweeper.cli.execute import exec as exec_command
from sweeper.cli.execute import reproduce, run
from sweeper.cli.exit_codes import FAILED, INTERRUPTED, USAGE
from sweeper.cli.judge import backtest, calibrate
from sweeper.cli.look import compare, export, logs, report, status, tensorboard, ui, verify, wait
from sweeper.cli.messages import in_words, warn
from sweeper.cli.output import drop_output, prepare_streams
from sweeper.cli.setup import check, completion, doctor, init, plan
from sweeper.cli.steer import control, mcp, requests
from sweeper.errors import SweeperError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COMMANDS = (
    init,
    check,
    plan,
    run,
    exec_command,
    status,
    wait,
    verify,
    logs,
    tensorboard,
    ui,
    report,
    compare,
    reproduce,
    export,
    control,
    requests,
    mcp,
    calibrate,
    backtest,
    doctor,
    completion,
)
"""In the order in which the documents list them."""

GROUPS = {
    "set up": ("init", "check", "plan", "schema", "doctor", "completion"),
    "run": ("run", "exec", "reproduce"),
    "look": ("status", "why", "wait", "logs", "ui", "tensorboard", "report", "compare", "export", "verify"),
    "steer": ("stop", "pause", "resume", "queue", "revive", "exempt", "add", "derive", "mcp"),
    "judge": ("backtest", "calibrate"),
}
"""The commands as `sweeper --help` groups them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit code. A user's mistake is one clear sentence, never a traceback."""
    prepare_streams()
    try:
        from sweeper.views.terminal.detached import survive_disconnect

        try:
            options = _parsed(arguments)
        except SystemExit:  # of argparse, which has printed the help and drops errors
            sys.stdout.flush()
            raise
        with survive_disconnect() if options.survive_disconnect else nullcontext():
            code: int = options.run_command(options)
        sys.stdout.flush()  # here, where a closed pipe and a full disk can still be handled
    except SweeperError as error:
        warn(str(error))
        return USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        drop_output()
        return FAILED
    except OSError as error:  # a disk error that no other handler caught
        drop_output()
        warn(in_words(error))
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


class _Parser(argparse.ArgumentParser):
    """A parser that reports errors when it prints its help; argparse itself ignores errors of the disk."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        (file or sys.stderr).write(message)


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """The parser, and the names of the commands."""
    parser = _Parser(
        prog="sweeper",
        usage="%(prog)s [--help] [--version] COMMAND ...",
        description="Run hyperparameter sweeps that stop failing training runs early, and record why.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sweeper {__version__}", help="print the version")
    parser.set_defaults(survive_disconnect=False)
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
