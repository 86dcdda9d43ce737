"""`sweeper stop`, `pause`, `resume` and `queue`: what becomes of a run, or of single trials, from another terminal."""

from __future__ import annotations

import argparse

from sweeper.cli.arguments import Commands, add_author, add_command, add_run, add_slots, existing, whole
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import console, say
from sweeper.cli.steer.requests import answered, carried_out
from sweeper.errors import UsageError


def add(commands: Commands) -> None:
    """Their arguments."""
    stop = add_command(commands, "stop", "Interrupt a sweep like Ctrl-C; with numbers, end these trials")
    pause = add_command(commands, "pause", "Pause a sweep, or these trials, at a checkpoint")
    resume = add_command(commands, "resume", "Resume a paused sweep, or paused trials, from the checkpoints")
    for parser, call in ((stop, _stop), (pause, _pause), (resume, _resume)):
        add_run(parser)
        parser.add_argument(
            "numbers", type=whole, nargs="*", metavar="NUMBER", help="numbers of trials (default: the whole sweep)"
        )
        add_author(parser)
        parser.set_defaults(run_command=call)
    add_slots(resume, starts=False)
    resume.set_defaults(survive_disconnect=True)

    queue = add_command(commands, "queue", "Print the waiting trials in their order, or change the order")
    add_run(queue)
    queue.add_argument(
        "numbers", type=whole, nargs="*", metavar="NUMBER", help="numbers of waiting trials, with --first"
    )
    queue.add_argument("--first", action="store_true", help="start these trials before all others, in this order")
    add_author(queue)
    queue.set_defaults(run_command=_queue)


def _stop(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    return answered(commands.stop(existing(options.run), options.numbers, by=options.by, because=options.because))


def _pause(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    return answered(commands.pause(existing(options.run), options.numbers, by=options.by, because=options.because))


def _resume(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    run = existing(options.run)
    sent = commands.resume(run, options.numbers, by=options.by, because=options.because)
    return carried_out(run, sent, options) if options.numbers else answered(sent)


def _queue(options: argparse.Namespace) -> int:
    from sweeper.record.trial import State
    from sweeper.service import commands

    run = existing(options.run)
    if bool(options.numbers) != options.first:
        raise UsageError("sweeper queue: expected --first and the numbers of trials, or neither")
    if options.first:
        return answered(commands.first(run, options.numbers, by=options.by, because=options.because))
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
