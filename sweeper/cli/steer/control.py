"""`sweeper stop`, `pause`, `resume` and `queue`: what becomes of a run, or of single trials, from another terminal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.cli.arguments import WORKERS, Commands, add_command, add_run, existing, existing_trial, positive
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import console, say
from sweeper.cli.steer.requests import hand_over, send
from sweeper.errors import UsageError
from sweeper.record.storage.layout import SweepDir

if TYPE_CHECKING:
    from sweeper.record.storage.inbox import Command, SweepCommand, TrialCommand
    from sweeper.record.trial import TrialRecord


def add(commands: Commands) -> None:
    """Their arguments."""
    stop = add_command(commands, "stop", "Interrupt a sweep like Ctrl-C; with numbers, end these trials")
    pause = add_command(commands, "pause", "Pause a sweep, or these trials, at a checkpoint")
    resume = add_command(commands, "resume", "Resume a paused sweep, or paused trials, from the checkpoints")
    for parser, call in ((stop, _stop), (pause, _pause), (resume, _resume)):
        add_run(parser)
        parser.add_argument(
            "numbers", type=int, nargs="*", metavar="NUMBER", help="numbers of trials (default: the whole sweep)"
        )
        parser.set_defaults(run_command=call)
    stop.add_argument("--because", metavar="TEXT", help="reason for the receipts of the trials")
    resume.add_argument("--workers", type=positive, metavar="N", help=WORKERS)
    resume.set_defaults(survive_disconnect=True)

    queue = add_command(commands, "queue", "Print the waiting trials in their order, or change the order")
    add_run(queue)
    queue.add_argument("numbers", type=int, nargs="*", metavar="NUMBER", help="numbers of waiting trials, with --first")
    queue.add_argument("--first", action="store_true", help="start these trials before all others, in this order")
    queue.set_defaults(run_command=_queue)


def _stop(options: argparse.Namespace) -> int:
    from sweeper.record.storage.inbox import SweepCommand, TrialCommand

    run = existing(options.run)
    if not options.numbers:
        if options.because is not None:
            raise UsageError("--because: expected the numbers of trials to end; a whole sweep is only interrupted")
        return _to_all(run, SweepCommand.STOP)
    return _to_each(run, options.numbers, TrialCommand.STOP, because=options.because or "")


def _pause(options: argparse.Namespace) -> int:
    from sweeper.record.storage.inbox import SweepCommand, TrialCommand

    run = existing(options.run)
    if options.numbers:
        return _to_each(run, options.numbers, TrialCommand.PAUSE)
    return _to_all(run, SweepCommand.PAUSE)


def _resume(options: argparse.Namespace) -> int:
    from sweeper.record.storage.inbox import ForTrial, SweepCommand, TrialCommand
    from sweeper.record.trial import State

    run = existing(options.run)
    if not options.numbers:
        return _to_all(run, SweepCommand.RESUME)

    for trial in _trials(run, options.numbers):
        if trial.state not in (State.PAUSED, State.RUNNING):  # one that runs may be about to pause
            message = f"{run.path}: expected the number of a paused trial, got {trial.facts.number}, which is "
            raise UsageError(message + trial.state.value)
    commands = [ForTrial(do=TrialCommand.RESUME, number=number) for number in options.numbers]
    return send(run, commands, workers=options.workers)


def _queue(options: argparse.Namespace) -> int:
    from sweeper.record.storage.inbox import LaunchFirst
    from sweeper.record.trial import State

    run = existing(options.run)
    if bool(options.numbers) != options.first:
        raise UsageError("sweeper queue: expected --first and the numbers of trials, or neither")
    if options.first:
        for trial in _trials(run, options.numbers):
            if trial.state.ended:
                message = f"{run.path}: expected the number of a trial that waits, got {trial.facts.number}, which is "
                raise UsageError(message + trial.state.value)
        return _leave(run, [LaunchFirst(numbers=tuple(options.numbers))])
    from sweeper.record.ended import read_states
    from sweeper.record.launch_order import preferred, queued
    from sweeper.record.storage.journal import read_journal
    from sweeper.results.wording import counted
    from sweeper.views.terminal.table import trial_table

    waiting = {trial.facts.number: trial for trial in read_states(run)[0] if trial.state is State.WAITING}
    order = queued(waiting, preferred(read_journal(run.log)))
    terminal = console()
    if order:
        shown = [waiting[number] for number in order]
        terminal.print(trial_table(shown, shown[0].facts.metric, terminal.width))
    say(f"{counted(len(order), 'trial waits', 'trials wait')}")
    return OK


def _to_all(run: SweepDir, command: SweepCommand) -> int:
    """Send a command to the process that runs a sweep now; a process that runs it later ignores it."""
    from sweeper.record.storage.inbox import ForSweep
    from sweeper.record.storage.lease import holder_of, is_held

    if not is_held(run.lease):
        raise UsageError(f"{run.path}: this sweep is not running; `sweeper run FILE` starts or resumes it")
    hand_over(run, ForSweep(do=command, to=holder_of(run.lease)))
    say(f"{run.path}: sent to {holder_of(run.lease)}")
    return OK


def _to_each(run: SweepDir, numbers: Sequence[int], command: TrialCommand, *, because: str = "") -> int:
    from sweeper.record.storage.inbox import ForTrial, person

    for trial in _trials(run, numbers):
        if trial.state.ended:
            message = f"{run.path}: expected the number of a trial that has not ended, got {trial.facts.number}"
            raise UsageError(f"{message}, which is {trial.state.value}")
    return _leave(run, [ForTrial(do=command, number=number, by=person(), because=because) for number in numbers])


def _leave(run: SweepDir, commands: Sequence[Command]) -> int:
    """Leave commands to the process that runs the sweep, or to the next that does."""
    from sweeper.record.storage.lease import is_held

    hand_over(run, *commands)
    if is_held(run.lease):
        say(f"{run.path}: sent to the process that runs it; to watch it: `sweeper status {run.path} --watch`")
    else:
        say(f"{run.path}: no process runs it; the next `sweeper run` does this before anything else")
    return OK


def _trials(run: SweepDir, numbers: Sequence[int]) -> list[TrialRecord]:
    from sweeper.record.reader import read_trial

    return [read_trial(existing_trial(run, number)) for number in numbers]
