"""`sweeper revive`, `sweeper add` and `sweeper derive`: what is asked of a run, whether or not it is at work."""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweeper.cli.arguments import WORKERS, Commands, add_command, add_run, add_trial, existing, existing_trial, positive
from sweeper.cli.execute.orchestrate import orchestrate
from sweeper.cli.exit_codes import OK
from sweeper.cli.messages import say
from sweeper.errors import UsageError
from sweeper.record.derivation import START
from sweeper.record.storage.layout import SweepDir

if TYPE_CHECKING:
    from sweeper.record.storage.inbox import Command


def add(commands: Commands) -> None:
    """Their arguments."""
    revive = add_command(commands, "revive", "Continue a stopped trial from its checkpoint")
    exempt = add_command(commands, "exempt", "Exempt a trial from rules, so that no rule stops it", aliases=["spare"])
    for parser in (revive, exempt):
        add_trial(parser)
        parser.set_defaults(run_command=_revive)

    more = add_command(commands, "add", "Add a configuration to a sweep, running or not")
    add_run(more)
    more.add_argument(
        "parameters", nargs="+", metavar="NAME=VALUE", help="value of each parameter that varies, as in lr=1e-4"
    )
    more.set_defaults(run_command=_add)

    derive = add_command(commands, "derive", "Continue a trial from a checkpoint with other parameters")
    add_trial(derive)
    derive.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="parameters that differ from the trial's, as in lr=1e-4"
    )
    derive.add_argument(
        "--at", type=_step, metavar="STEP", help="step to continue from, or `start` (default: the newest checkpoint)"
    )
    derive.add_argument("--fresh-optimizer", action="store_true", help="do not restore the moments of the optimizer")
    derive.add_argument("--because", metavar="TEXT", help="reason, for the record")
    derive.set_defaults(run_command=_derive)

    for parser in (revive, exempt, more, derive):
        parser.add_argument("--workers", type=positive, metavar="N", help=WORKERS)
        parser.set_defaults(survive_disconnect=True)


def _revive(options: argparse.Namespace) -> int:
    from sweeper.record.reader import read_trial
    from sweeper.record.storage.inbox import ForTrial, TrialCommand
    from sweeper.record.trial import State

    run = existing(options.run)
    trial = read_trial(existing_trial(run, options.number))
    if trial.state in (State.COMPLETE, State.FAIL):
        expected = "the number of a trial that was stopped early or has not ended"
        raise UsageError(f"{options.run}: expected {expected}, got {options.number}, which is {trial.state.value}")
    return send(run, [ForTrial(do=TrialCommand.REVIVE, number=options.number)], workers=options.workers)


def _add(options: argparse.Namespace) -> int:
    from sweeper.cli.messages import warn
    from sweeper.config import LEARNING, SweepSpec, added_configuration, outside_of
    from sweeper.record.storage.inbox import AddConfiguration
    from sweeper.record.storage.layout import read_json

    run = existing(options.run)
    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    params = added_configuration(spec, options.parameters)
    if spec.method in LEARNING and (outside := outside_of(spec, params)):
        warn(f"The search will not learn from this configuration: {', '.join(outside)}")
    return send(run, [AddConfiguration(params=params)], workers=options.workers)


def _step(text: str) -> int:
    if text == "start":
        return START
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a step, or start, got {text!r}")


def _derive(options: argparse.Namespace) -> int:
    from sweeper.config import SweepSpec, derived_changes, lr_factor
    from sweeper.record.checkpoints import newest_before, saved_checkpoints
    from sweeper.record.reader import read_trial
    from sweeper.record.storage.inbox import NEWEST, DeriveTrial, person
    from sweeper.record.storage.layout import read_json

    run = existing(options.run)
    trial = read_trial(existing_trial(run, options.number))
    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    changes = derived_changes(spec, trial.facts.params, options.overrides)
    at = NEWEST if options.at is None else options.at
    if at != START:
        saved = saved_checkpoints(trial.directory)
        if newest_before(saved, at) is None:
            kept = ", ".join(str(one.step) for one in saved) or "none"
            raise UsageError(
                f"{trial.directory.checkpoints}: expected a checkpoint{'' if at == NEWEST else f' up to step {at}'}, "
                f"got checkpoints after these steps: {kept}. To begin at the start: --at start"
            )
    command = DeriveTrial(
        number=options.number,
        changes=changes,
        at=at,
        lr_factor=lr_factor(trial.facts.params, changes),
        fresh_optimizer=options.fresh_optimizer,
        by=person(),
        because=options.because or "",
        request=uuid.uuid4().hex,
    )
    return send(run, [command], workers=options.workers)


def hand_over(run: SweepDir, *commands: Command) -> None:
    """Leave commands for the orchestrator of a run, this one or the next."""
    from sweeper.record.storage import inbox

    for command in commands:
        inbox.send(run, command)


def send(run: SweepDir, commands: Sequence[Command], *, workers: int | None) -> int:
    """Hand commands to the orchestrator of a run; where none is at work, become it."""
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine
    from sweeper.orchestrator.opening import reopen_run
    from sweeper.record.storage.lease import is_held

    hand_over(run, *commands)
    if is_held(run.lease):
        say(f"{run.path}: sent to the process that runs it; to watch it: `sweeper status {run.path}`")
        return OK
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), workers=workers)
    return orchestrate(reopen_run(run), machine)
