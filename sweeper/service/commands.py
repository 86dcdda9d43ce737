"""Commands to a run: each is left in its inbox, with who asked and why, for the process that runs the sweep.

Nothing is run in the caller's process. A run that no process runs keeps trial commands for the next `sweeper run`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sweeper.errors import UsageError
from sweeper.record.checkpoints import SavedCheckpoint, newest_before, saved_checkpoints
from sweeper.record.derivation import START
from sweeper.record.reader import read_trial
from sweeper.record.storage import inbox
from sweeper.record.storage.inbox import (
    NEWEST,
    AddConfiguration,
    Command,
    DeriveTrial,
    ForSweep,
    ForTrial,
    LaunchFirst,
    SweepCommand,
    TrialCommand,
    person,
)
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json
from sweeper.record.storage.lease import holder_of, is_held
from sweeper.record.trial import State, TrialRecord
from sweeper.service.answers.machine import Sent


class Asked(NamedTuple):
    """Who gives a command, and why."""

    by: str
    because: str


NEXT = "no process runs it; the next `sweeper run` does this before anything else"


def stop(run: SweepDir, numbers: Sequence[int] = (), *, by: str = "", because: str = "") -> Sent:
    """Interrupt a sweep as Ctrl-C does; with numbers, end these trials.

    Args:
        run: the run.
        numbers: trials that have not ended; by default, the whole sweep.
        by: who asks; by default, the user of this process.
        because: why.

    Raises:
        UsageError: a trial does not exist or has ended; or the whole sweep is meant and no process runs it.
        Unwritable: the disk is full or gone.
    """
    if not numbers:
        return _to_sweep(run, SweepCommand.STOP, _asked(by, because))
    return _to_trials(run, numbers, TrialCommand.STOP, _asked(by, because))


def pause(run: SweepDir, numbers: Sequence[int] = (), *, by: str = "", because: str = "") -> Sent:
    """Pause a sweep, or these trials, at a checkpoint; arguments and errors as for `stop`."""
    if not numbers:
        return _to_sweep(run, SweepCommand.PAUSE, _asked(by, because))
    return _to_trials(run, numbers, TrialCommand.PAUSE, _asked(by, because))


def resume(run: SweepDir, numbers: Sequence[int] = (), *, by: str = "", because: str = "") -> Sent:
    """Resume a paused sweep, or paused trials; arguments as for `stop`.

    Raises:
        UsageError: a trial does not exist or is not paused; or the whole sweep is meant and no process runs it.
        Unwritable: the disk is full or gone.
    """
    if not numbers:
        return _to_sweep(run, SweepCommand.RESUME, _asked(by, because))
    for trial in records(run, numbers):
        if trial.state not in (State.PAUSED, State.RUNNING):  # one that runs may be about to pause
            expected = "expected the number of a paused trial"
            raise UsageError(f"{run.path}: {expected}, got {trial.number}, which is {trial.state.value}")
    return _send_each(run, numbers, TrialCommand.RESUME, _asked(by, because))


def revive(run: SweepDir, number: int, *, by: str = "", because: str = "") -> Sent:
    """Continue a stopped trial from its checkpoint, and let no rule stop it.

    Raises:
        UsageError: the trial does not exist, completed or failed.
        Unwritable: the disk is full or gone.
    """
    return _revive(run, number, "revive", _asked(by, because))


def exempt(run: SweepDir, number: int, *, by: str = "", because: str = "") -> Sent:
    """Let no rule stop a trial; if it was stopped, it continues. Errors as for `revive`."""
    return _revive(run, number, "exempt", _asked(by, because))


def first(run: SweepDir, numbers: Sequence[int], *, by: str = "", because: str = "") -> Sent:
    """Start these waiting trials before all others, in this order.

    Raises:
        UsageError: a trial does not exist or has ended.
        Unwritable: the disk is full or gone.
    """
    for trial in records(run, numbers):
        if trial.state.ended:
            expected = "expected the number of a trial that waits"
            raise UsageError(f"{run.path}: {expected}, got {trial.number}, which is {trial.state.value}")
    asked = _asked(by, because)
    command = LaunchFirst(numbers=tuple(numbers), by=asked.by, because=asked.because)
    return _sent(run, "first", numbers, [command])


def add(run: SweepDir, params: Sequence[str] | Mapping[str, object], *, by: str = "", because: str = "") -> Sent:
    """Add a configuration to a sweep.

    Args:
        run: the run.
        params: the value of each parameter that varies: as words, `["lr=1e-4"]`, or as values by name.
        by: who asks; by default, the user of this process.
        because: why.

    Raises:
        UsageError: a parameter is missing, unknown, or not valid.
        Unwritable: the disk is full or gone.
    """
    from sweeper.config import LEARNING, SweepSpec, added_configuration, outside_of

    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    known = added_configuration(spec, _words(params))
    warnings = []
    if spec.method in LEARNING and (outside := outside_of(spec, known)):
        warnings.append(f"The search will not learn from this configuration: {', '.join(outside)}")
    asked = _asked(by, because)
    command = AddConfiguration(params=known, by=asked.by, because=asked.because)
    return _sent(run, "add", (), [command], warnings)


def derive(  # noqa: PLR0913 - all but three by name
    run: SweepDir,
    number: int,
    changes: Sequence[str] | Mapping[str, object] = (),
    *,
    at: int | None = None,
    fresh_optimizer: bool = False,
    by: str = "",
    because: str = "",
) -> Sent:
    """Add a trial that continues another one from a checkpoint, with changed parameters.

    Args:
        run: the run.
        number: the trial to continue.
        changes: the parameters that differ: as words, `["lr=1e-4"]`, or as values by name.
        at: the step to continue from, of which the newest checkpoint counts; `derivation.START` for the start; by
            default, the newest checkpoint.
        fresh_optimizer: whether the optimizer's moments are not restored.
        by: who asks; by default, the user of this process.
        because: why.

    Raises:
        UsageError: the trial does not exist, has no such checkpoint, or a parameter is unknown or not valid.
        Unwritable: the disk is full or gone.
    """
    from sweeper.config import SweepSpec, derived_changes, lr_factor, repair_of

    (trial,) = records(run, [number])
    spec = SweepSpec.from_json(read_json(run.spec)["spec"])  # type: ignore[arg-type]  # from_json says what is wrong
    changed = derived_changes(spec, trial.facts.params, _words(changes))
    step = NEWEST if at is None else at
    saved = [] if step == START else saved_checkpoints(trial.directory)
    base = newest_before(saved, step)
    if step != START and base is None:
        kept = ", ".join(str(one.step) for one in saved) or "none"
        expected = f"a checkpoint{'' if at is None else f' up to step {at}'}"
        raise UsageError(
            f"{trial.directory.checkpoints}: expected {expected}, got checkpoints after these steps: {kept}. "
            "To begin at the start: --at start"
        )
    asked, repairs = _asked(by, because), repair_of(spec)
    promised = step if at is None or base is None else base.step  # so that it is said if it is gone by then
    command = DeriveTrial(
        number=number,
        changes=changed,
        at=promised,
        lr_factor=lr_factor(trial.facts.params, changed, "" if repairs is None else repairs.parameters.lr),
        fresh_optimizer=fresh_optimizer,
        by=asked.by,
        because=asked.because,
        request=uuid.uuid4().hex,
    )
    return _sent(
        run, "derive", [number], [command], [] if base is None else without_steps_left(trial, base.step, saved)
    )


def trial_of(run: SweepDir, number: int) -> TrialDir:
    """Return the directory of a trial.

    Raises:
        UsageError: the run has no such trial.
    """
    directory = run.trial(number)
    if directory.is_unmade or not directory.path.exists():
        numbers = [trial.number for trial in run.trials()]
        known = f"{min(numbers)} to {max(numbers)}" if numbers else "none yet"
        raise UsageError(f"{run.path}: expected the number of a trial ({known}), got {number}")
    return directory


def records(run: SweepDir, numbers: Sequence[int]) -> list[TrialRecord]:
    """Return the records of trials.

    Raises:
        UsageError: the run has no such trial.
    """
    return [read_trial(trial_of(run, number)) for number in numbers]


def _asked(by: str, because: str) -> Asked:
    return Asked(by or person(), because)


def without_steps_left(trial: TrialRecord, step: int, saved: Sequence[SavedCheckpoint]) -> list[str]:
    """Return a warning if a trial had taken all planned steps at a checkpoint, so none is left to continue with."""
    total = trial.progress.total_steps
    if total is None or step + 1 < total:
        return []
    earlier = ", ".join(str(one) for one in sorted({one.step for one in saved if one.step + 1 < total}))
    kept = f"after step {earlier}" if earlier else "none; --at start begins without one"
    done = f"Trial {trial.facts.number:04d} had taken all of its {total} steps at this checkpoint"
    text = f"{done}, so none is left unless a changed parameter adds some."
    return [f"{text} Choose an earlier checkpoint with --at ({kept})"]


def _revive(run: SweepDir, number: int, name: str, asked: Asked) -> Sent:
    (trial,) = records(run, [number])
    if trial.state in (State.COMPLETE, State.FAIL):
        expected = "the number of a trial that was stopped early or has not ended"
        raise UsageError(f"{run.path}: expected {expected}, got {number}, which is {trial.state.value}")
    return _send_each(run, [number], TrialCommand.REVIVE, asked, name)


def _to_trials(run: SweepDir, numbers: Sequence[int], do: TrialCommand, asked: Asked) -> Sent:
    for trial in records(run, numbers):
        if trial.state.ended:
            expected = "expected the number of a trial that has not ended"
            raise UsageError(f"{run.path}: {expected}, got {trial.number}, which is {trial.state.value}")
    return _send_each(run, numbers, do, asked)


def _send_each(run: SweepDir, numbers: Sequence[int], do: TrialCommand, asked: Asked, name: str = "") -> Sent:
    commands = [ForTrial(do=do, number=number, by=asked.by, because=asked.because) for number in numbers]
    return _sent(run, name or do.value, numbers, commands)


def _to_sweep(run: SweepDir, do: SweepCommand, asked: Asked) -> Sent:
    """Send a command to the process that runs a sweep now; a process that runs it later ignores it."""
    if not is_held(run.lease):
        raise UsageError(f"{run.path}: this sweep is not running; `sweeper run FILE` starts or resumes it")
    holder = holder_of(run.lease)
    sent = _sent(run, do.value, (), [ForSweep(do=do, to=holder, by=asked.by, because=asked.because)])
    return replace(sent, running=True, text=f"sent to {holder}")


def _sent(
    run: SweepDir, name: str, numbers: Sequence[int], commands: Sequence[Command], warnings: Sequence[str] = ()
) -> Sent:
    for command in commands:
        inbox.send(run, command)
    running = is_held(run.lease)
    watch = f"sent to the process that runs it; to watch it: `sweeper status {run.path} --watch`"
    return Sent(
        run=str(run.path),
        command=name,
        numbers=numbers,
        by=commands[0].by,
        because=commands[0].because,
        running=running,
        text=watch if running else NEXT,
        warnings=warnings,
    )


def _words(params: Sequence[str] | Mapping[str, object]) -> list[str]:
    if not isinstance(params, Mapping):
        return list(params)
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params.items()]
