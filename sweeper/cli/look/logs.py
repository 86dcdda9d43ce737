"""`sweeper logs RUN NUMBER`: what a trial printed."""

from __future__ import annotations

import argparse
import time

from sweeper.cli.arguments import Commands, add_command, add_trial, existing, existing_trial, positive
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import warn
from sweeper.cli.output import put
from sweeper.errors import RecordError, UsageError

LOOK_EVERY_S = 0.2


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "logs", "Print the output of a trial, byte for byte")
    add_trial(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing until the attempt ends")
    parser.add_argument("--attempt", type=positive, metavar="N", help="number of the attempt (default: the newest)")
    parser.set_defaults(run_command=_logs)


def _logs(options: argparse.Namespace) -> int:
    from sweeper.record.reader import is_alive
    from sweeper.record.storage.output import pieces

    trial = existing_trial(existing(options.run), options.number)
    attempts = {attempt.number: attempt for attempt in trial.attempts()}
    chosen = attempts.get(max(attempts, default=0) if options.attempt is None else options.attempt)
    if chosen is None:
        known = f"one from 1 to {max(attempts)}" if attempts else "a trial that was started"
        asked = "none" if options.attempt is None else options.attempt
        raise UsageError(f"{trial.path}: expected {known}, got {asked}")
    read = 0
    while True:
        alive = options.follow and is_alive(chosen)  # looked at before reading: then what is read is all
        left_out = 0
        try:
            for piece, behind in pieces(chosen, read):
                left_out += 0 if piece else behind - read
                read = behind
                put(piece)
        except OSError as error:
            if error.filename != str(chosen.output):  # it is standard output that cannot be written
                raise
            got = f"got: {error.strerror}"
            raise RecordError(f"{chosen.output}: expected the output of an attempt, {got}") from error
        if left_out:
            hole = f"{left_out:,} bytes that no program has written: they are a hole in the file"
            warn(f"{chosen.output}: left out {hole}")
        if not alive:
            return OK
        time.sleep(LOOK_EVERY_S)
