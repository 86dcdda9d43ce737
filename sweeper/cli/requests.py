"""`sweeper revive` and `sweeper add`: what is asked of a run, whether or not it is at work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from sweeper.cli.arguments import WORKERS, Commands, add_command, add_run, add_trial, existing, existing_trial, positive
from sweeper.cli.codes import OK
from sweeper.cli.orchestrate import orchestrate
from sweeper.cli.speech import say
from sweeper.errors import UsageError
from sweeper.record.layout import SweepDir


def add(commands: Commands) -> None:
    """Their arguments."""
    does = "Continue a stopped trial, or exempt a running one from rules"
    revive = add_command(commands, "revive", does, aliases=["spare"])
    add_trial(revive)
    revive.set_defaults(run_command=_revive)

    more = add_command(commands, "add", "Add a configuration to a sweep, running or not")
    add_run(more)
    more.add_argument(
        "parameters", nargs="+", metavar="NAME=VALUE", help="value of each parameter that varies, as in lr=1e-4"
    )
    more.set_defaults(run_command=_add)

    for parser in (revive, more):
        parser.add_argument("--workers", type=positive, metavar="N", help=WORKERS)
        parser.set_defaults(unattended=True)


def _revive(options: argparse.Namespace) -> int:
    from sweeper.record.fold import State
    from sweeper.record.trial import read_trial

    run = existing(options.run)
    trial = read_trial(existing_trial(run, options.number))
    if trial.state in (State.COMPLETE, State.FAIL):
        expected = "the number of a pruned trial, or of one that has not ended"
        raise UsageError(f"{options.run}: expected {expected}, got {options.number}, which is {trial.state.value}")
    return send(run, [{"do": "revive", "number": options.number}], workers=options.workers)


def _add(options: argparse.Namespace) -> int:
    from sweeper.record.layout import read_json
    from sweeper.spec import SweepSpec, configuration

    run = existing(options.run)
    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    params = configuration(spec, options.parameters)
    return send(run, [{"do": "add", "params": params}], workers=options.workers)


def hand_over(run: SweepDir, *commands: Mapping[str, object]) -> None:
    """Leave commands for the orchestrator of a run, this one or the next."""
    from sweeper.record import inbox

    for command in commands:
        inbox.send(run, command)


def send(run: SweepDir, commands: Sequence[Mapping[str, object]], *, workers: int | None) -> int:
    """Hand commands to the orchestrator of a run; where none is at work, become it."""
    from sweeper.executors.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine
    from sweeper.orchestrator.opening import reopen_run
    from sweeper.record.lease import is_held

    hand_over(run, *commands)
    if is_held(run.lease):
        say(f"{run.path}: told the process that runs it; watch it there, or with `sweeper status {run.path}`")
        return OK
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), workers=workers)
    return orchestrate(reopen_run(run), machine)
