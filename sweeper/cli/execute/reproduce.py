"""`sweeper reproduce RUN NUMBER`: what it takes to run a trial again, and that."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.cli.arguments import Commands, add_command, add_runs, add_trial, existing, existing_trial, positive
from sweeper.cli.execute.orchestrate import orchestrate
from sweeper.cli.exit_codes import FAILED, OK
from sweeper.cli.messages import say
from sweeper.cli.output import put
from sweeper.errors import DataUnavailable, RecordError, UsageError
from sweeper.record.storage.layout import SweepDir, TrialDir

if TYPE_CHECKING:
    from sweeper.config import SweepSpec
    from sweeper.record.trial import TrialRecord
    from sweeper.results.comparison.reproduction import Reproduction


def add(commands: Commands) -> None:
    """Its arguments."""
    parser = add_command(commands, "reproduce", "Show how to reproduce a trial; with --run, reproduce it")
    add_trial(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--run", dest="again", action="store_true", help="run the trial again, in a new run, and compare the results"
    )
    what.add_argument(
        "--patch", action="store_true", help="print the uncommitted changes of the trial's code, for `git apply`"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="number of slots of the machine (default: as recorded)"
    )
    add_runs(parser)
    parser.set_defaults(run_command=_reproduce, survive_disconnect=True)


def _reproduce(options: argparse.Namespace) -> int:
    from sweeper.orchestrator.search.studies import spec_of
    from sweeper.record.reader import read_trial
    from sweeper.record.storage.layout import read_json
    from sweeper.results.comparison.reproduction import differences_text, patch_of, reproduction_text

    run = existing(options.run)
    trial = read_trial(existing_trial(run, options.number))
    kept = read_json(run.spec)
    origin = _object(kept.get("provenance"))
    if options.patch:
        put(patch_of(origin).encode(errors="surrogateescape"))
        return OK
    try:
        spec = spec_of(run)
    except RecordError as error:
        message = (
            f"{run.path}: expected the run of a sweep, got one without: its script was run by itself; run it so again"
        )
        raise UsageError(message) from error
    if not trial.facts.command:
        raise UsageError(f"{trial.directory.facts}: expected the command of the trial, got none: it was taken out")
    again = _again(spec, trial, _object(kept.get("data")))
    one = _compared(again, trial, origin, options.run)
    if not options.again:
        say(reproduction_text(one).rstrip("\n"))
        return OK
    say(differences_text(one))
    return _run(again, one, options)


def _again(spec: SweepSpec, trial: TrialRecord, data: Mapping[str, object]) -> SweepSpec:
    from sweeper.config import sweep_of_trial
    from sweeper.record.trial import State

    facts, stopped = trial.facts, trial.state is State.PRUNED
    return sweep_of_trial(spec, params=facts.params, data=data, seed=facts.seed, stopped=stopped)


def _compared(again: SweepSpec, trial: TrialRecord, origin: Mapping[str, object], run: Path) -> Reproduction:
    """The trial as it was recorded, and what is not so here and now."""
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.orchestrator.opening import prepared
    from sweeper.orchestrator.trial_command import command_of
    from sweeper.preflight.provenance import provenance
    from sweeper.record.values.redaction import redacted_values
    from sweeper.results.comparison.provenance import differences
    from sweeper.results.comparison.reproduction import Reproduction

    here = provenance(folder=Path.cwd(), devices=cuda_devices(os.environ), cores=cores())
    missing = ""
    if origin.get("data"):
        try:
            here = {**here, "data": prepared(again, lambda _: None).get("provenance", {})}
        except DataUnavailable as error:
            missing = str(error)
    there = {**origin, "command": list(trial.facts.command)}
    here = redacted_values({**here, "command": command_of(again, trial.facts.params, trial.facts.seed)})
    return Reproduction(
        trial=trial,
        name=again.name,
        run=str(run.absolute()),
        origin=origin,
        differences=differences(redacted_values(there), here),
        missing=missing,
        slots=_slots(SweepDir(run), trial),
    )


def _run(again: SweepSpec, one: Reproduction, options: argparse.Namespace) -> int:
    from sweeper.config import reproduction_as_file, with_name_suffix
    from sweeper.executors.choice import require_library, require_variables
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine
    from sweeper.orchestrator.opening import make_reproduction, open_run
    from sweeper.preflight.provenance import provenance
    from sweeper.record.reader import history, read_trial
    from sweeper.results.comparison.repetition import is_equal, repeat_text, repeats

    source = _checkpoint_of(one)
    require_library(again)
    require_variables(again, os.environ)
    then = one.trial
    spec = with_name_suffix(again, _ending(options.runs, again, then.facts.number))
    # As many slots as there were: they decide on how many threads a trial computes, and those on its last bits.
    workers = options.workers or len(one.slots) or None
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), workers=workers)
    run = open_run(
        spec,
        text=reproduction_as_file(spec).encode(),
        runs=options.runs,
        provenance=lambda: provenance(folder=Path.cwd(), devices=machine.devices, cores=machine.cores),
        say=say,
    )
    make_reproduction(run, then, source)
    code = orchestrate(run, machine)
    now = read_trial(run.directory.trial(0))
    if not now.state.ended:
        return code
    found = repeats(history(then.directory.attempts()), history(now.directory.attempts()))
    say(f"\n{repeat_text(then, now, found)}".rstrip("\n"))
    return OK if is_equal(then, now, found) else FAILED


def _checkpoint_of(one: Reproduction) -> TrialDir | None:
    """The trial that still has the checkpoint from which a derived trial began; None if it began at the start."""
    from sweeper.record.checkpoints import saved_checkpoints
    from sweeper.record.values.params import spelled
    from sweeper.record.values.redaction import redacted_values

    derived, own = one.trial.facts.derived, one.trial.directory
    if derived is None or not derived.checkpoint:
        return None
    places = [own] if derived.run else [own, TrialDir(own.path.with_name(f"{derived.parent:04d}"))]
    for place in places:
        if any(saved.file == derived.checkpoint for saved in saved_checkpoints(place)):
            return place
    changes = [f"{name}={spelled(value)}" for name, value in redacted_values(derived.changes).items()]
    words = [f"{one.run}-{derived.parent:04d}-again", "0", "--at", str(derived.step), *changes]
    message = (
        f"{own.checkpoints / derived.checkpoint}: expected the checkpoint from which the trial began, "
        f"but it was deleted. Reproduce the parent first, and derive from that: "
        f"`sweeper reproduce {shlex.quote(one.run)} {derived.parent} --run`, then `sweeper derive {shlex.join(words)}`"
    )
    raise UsageError(message)


def _ending(runs: Path, again: SweepSpec, number: int) -> str:
    """What the name of the run ends in: of one that was begun and has not ended, else of a new one."""
    from sweeper.config import with_name_suffix
    from sweeper.record.reader import read_trial

    for time in count(1):
        ending = f"-{number:04d}-again" + (f"-{time}" if time > 1 else "")
        there = SweepDir(runs / with_name_suffix(again, ending).name)
        trials = there.trials()
        if not trials or not read_trial(trials[0]).state.ended:
            return ending
    raise AssertionError  # `count` has no end


def _slots(run: SweepDir, trial: TrialRecord) -> Sequence[str]:
    """The slots of the sweep when the trial was last launched."""
    from sweeper.record.events import SweepStarted
    from sweeper.record.storage.journal import read_journal

    launched = trial.newest.launched
    starts = [event for event in read_journal(run.log) if isinstance(event, SweepStarted)]
    before = [start for start in starts if launched is not None and start.time <= launched.time]
    return before[-1].slots if before else ()


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
