"""`sweeper revive`, `sweeper add` and `sweeper derive`: what is asked of a run, whether or not it is at work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_author, add_command, add_run, add_slots, add_trial, existing, machine_of
from sweeper.cli.execute.orchestrate import orchestrate
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say
from sweeper.record.derivation import START
from sweeper.record.storage.layout import SweepDir

if TYPE_CHECKING:
    from sweeper.service.answers.machine import Sent


def add(commands: Commands) -> None:
    """Their arguments."""
    revive = add_command(commands, "revive", "Continue a stopped trial from its checkpoint")
    exempt = add_command(commands, "exempt", "Exempt a trial from rules, so that no rule stops it", aliases=["spare"])
    for parser, call in ((revive, _revive), (exempt, _exempt)):
        add_trial(parser)
        parser.set_defaults(run_command=call)

    more = add_command(commands, "add", "Add a configuration to a sweep, running or not")
    add_run(more)
    more.add_argument(
        "parameters", nargs="+", metavar="NAME=VALUE", help="value of each parameter that varies, as in lr=1e-4"
    )
    more.set_defaults(run_command=_add)

    derive = add_command(commands, "derive", "Continue a trial from a checkpoint with other parameters")
    add_trial(derive)
    derive.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="parameters that differ from the trial's, as in lr=1e-4",
    )
    derive.add_argument(
        "--at", type=_step, metavar="STEP", help="step to continue from, or `start` (default: the newest checkpoint)"
    )
    derive.add_argument("--fresh-optimizer", action="store_true", help="do not restore the moments of the optimizer")
    derive.set_defaults(run_command=_derive)

    for parser in (revive, exempt, more, derive):
        add_slots(parser, starts=False)
        add_author(parser)
        parser.set_defaults(survive_disconnect=True)


def _revive(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    run = existing(options.run)
    sent = commands.revive(run, options.number, by=options.by, because=options.because)
    return carried_out(run, sent, options)


def _exempt(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    run = existing(options.run)
    sent = commands.exempt(run, options.number, by=options.by, because=options.because)
    return carried_out(run, sent, options)


def _add(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    run = existing(options.run)
    sent = commands.add(run, options.parameters, by=options.by, because=options.because)
    return carried_out(run, sent, options)


def _step(text: str) -> int:
    if text == "start":
        return START
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a step, or start, got {text!r}")


def _derive(options: argparse.Namespace) -> int:
    from sweeper.service import commands

    run = existing(options.run)
    sent = commands.derive(
        run,
        options.number,
        options.overrides,
        at=options.at,
        fresh_optimizer=options.fresh_optimizer,
        by=options.by,
        because=options.because,
    )
    return carried_out(run, sent, options)


def answered(sent: Sent) -> int:
    """Print what becomes of a command that was handed over."""
    from sweeper.cli.messages import warn

    for line in sent.warnings:
        warn(line)
    say(f"{sent.run}: {sent.text}")
    return OK


def carried_out(run: SweepDir, sent: Sent, options: argparse.Namespace) -> int:
    """Print what becomes of a command; where no process runs the sweep, become the orchestrator that carries it out."""
    from sweeper.cli.messages import warn
    from sweeper.orchestrator.opening import reopen_run

    if sent.running:
        return answered(sent)
    for line in sent.warnings:
        warn(line)
    machine = machine_of(options)
    return orchestrate(reopen_run(run), machine)
