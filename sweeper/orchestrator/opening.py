"""Open a new run or one that an earlier call left: its directory, lease, resolved sweep file and data; make trials."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sweeper.config import Choice, Constant, Goal, SweepSpec, changes_between
from sweeper.errors import DataUnavailable, RecordError, RunBusy, SpecChanged, UsageError
from sweeper.orchestrator.search import learning
from sweeper.orchestrator.trial_command import command_of
from sweeper.orchestrator.withdrawal import Withdrawal
from sweeper.record.checkpoints import take_over
from sweeper.record.derivation import START, Derivation
from sweeper.record.ended import read_states
from sweeper.record.events import FORMAT, SpecTaken, SweepEnded, SweepStarted
from sweeper.record.facts import Facts, RetryPolicy
from sweeper.record.interpreter import isolated_python
from sweeper.record.storage import confined, filesystem
from sweeper.record.storage.claim import process_identity
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir, read_json, unwritable, write_atomically, write_json
from sweeper.record.storage.lease import Lease, acquire, holder_of, is_held
from sweeper.record.trial import TrialRecord
from sweeper.record.values.redaction import redacted_values
from sweeper.search import Configuration
from sweeper.search.grid import values_of
from sweeper.trainers import TRAINERS

Say = Callable[[str], None]

HOLDER_S = 1.0
"""Seconds to wait for the name of a living holder of the lease; a holder on another host is not found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An opened run; this process holds its lease.

    `withdrawn` are configurations that were taken out of its grid, `learned` those of other runs that its search knows.
    """

    directory: SweepDir
    spec: SweepSpec
    lease: Lease
    data: Mapping[str, object] = field(default_factory=dict)
    withdrawn: frozenset[int] = frozenset()
    learned: Sequence[Configuration] = ()


def open_run(  # noqa: PLR0913 - all by name
    spec: SweepSpec,
    *,
    text: bytes,
    runs: Path,
    provenance: Callable[[], Mapping[str, object]],
    say: Say,
    file: Path | None = None,
    mounts: str | None = None,
) -> Run:
    """Open the run `runs/<name>`: create it, or resume it if it exists.

    Args:
        spec: the resolved sweep file.
        text: the sweep file, byte for byte.
        runs: the directory of all runs.
        provenance: returns the provenance; called for a new run only.
        say: prints a message to the user.
        file: the path of the sweep file, which is recorded for `name_of`.
        mounts: the text of a mountinfo file; by default this machine's.

    Raises:
        RunBusy: another orchestrator holds the run, or may hold it on another host.
        SpecChanged: the sweep file would change trials that have already run.
        UsageError: the directory is not writable, file locks do not work there, or a run in `learn_from` is not usable.
        DataUnavailable: none of the data sources is available.
    """
    directory = SweepDir(runs / spec.name)
    lease = _acquire(directory, say, filesystem.mountinfo() if mounts is None else mounts)
    try:
        known, told = learning.recorded(directory, spec), learning.found(directory, spec, runs)
        if directory.spec.exists():
            data = _resume(directory, spec, text, say)
        else:
            data = _create(directory, spec, text, provenance(), say, file=_path_from(runs, file))
        for line in learning.lines(told, known):
            say(line)
        learning.tell(directory, told)
    except BaseException:
        lease.release()
        raise
    withdrawn, learned = _withdrawn(read_json(directory.spec)), learning.configurations(directory, spec)
    return Run(directory=directory, spec=spec, lease=lease, data=data, withdrawn=withdrawn, learned=learned)


def name_of(runs: Path, file: Path, name: str) -> str:
    """Return the name of the run of a sweep file that names none, given one made from the file.

    It is that name, unless another file has such a run. Then a number is added: `sweep-2` for a second `sweep.yaml`.
    """
    own = _path_from(runs, file)
    for number in itertools.count(1):
        numbered = name if number == 1 else f"{name}-{number}"
        spec = SweepDir(runs / numbered).spec
        try:
            known = read_json(spec).get("file") if spec.exists() else None
        except RecordError:  # opening the run tells what is wrong
            known = None
        if known in (None, own):
            return numbered
    raise AssertionError  # there is always another number


def _path_from(runs: Path, file: Path | None) -> str | None:
    """Return the path of a file from the directory of the runs, which stays right if both are moved together."""
    return None if file is None else os.path.relpath(file.resolve(), runs.resolve())


def reopen_run(directory: SweepDir) -> Run:
    """Open an existing run as it is, without its sweep file.

    Raises:
        RunBusy: another orchestrator holds the run.
        RecordError: the resolved sweep file of the run cannot be read.
    """
    lease = _acquire(directory, lambda _: None, filesystem.mountinfo())
    try:
        kept = read_json(directory.spec)
        spec = SweepSpec.from_json(_object(kept.get("spec")))
    except BaseException:
        lease.release()
        raise
    return Run(
        directory=directory,
        spec=spec,
        lease=lease,
        data=_object(kept.get("data")),
        withdrawn=_withdrawn(kept),
        learned=learning.configurations(directory, spec),
    )


def _acquire(directory: SweepDir, say: Say, mounts: str) -> Lease:
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        confined.make_folder(directory.path / confined.TRIALS)
        _check_locks(directory, say, mounts)
        lease = acquire(directory.lease, holder=f"pid {os.getpid()} on {socket.gethostname()}\n")
        locks = lease is None or is_held(directory.lease)
    except OSError as error:
        message = f"{directory.path}: this directory is not writable ({error.strerror}). Choose another one with --runs"
        raise UsageError(message) from error
    if lease is not None and not locks:
        lease.release()
        message = f"{directory.path}: file locks (flock) do not work in this directory. Choose another one with --runs"
        raise UsageError(message)
    if lease is None:
        message = (
            f"{directory.path} is being run by {_holder(directory)}. "
            f"Watch it with `sweeper status {directory.path}`, or stop that process first"
        )
        raise RunBusy(message)
    return lease


def _holder(directory: SweepDir) -> str:
    """Return the holder of the lease; a new holder writes its name a moment after it has acquired the lease."""
    deadline = time.monotonic() + HOLDER_S
    while True:
        holder = holder_of(directory.lease)
        pid = holder.removeprefix("pid ").split(" ")[0]
        if (pid.isdecimal() and process_identity(int(pid))) or time.monotonic() > deadline:
            return holder or "another process"
        time.sleep(0.02)


def _check_locks(directory: SweepDir, say: Say, mounts: str) -> None:
    """Refuse a run on a shared file system that another host may still be running; otherwise warn about the locks.

    flock(2) works among the processes of one host on every such file system, and the attempts of a sweep need no more.
    Whether another host sees the lock depends on the mount, so what that host wrote to `log.jsonl` decides.
    """
    kind = filesystem.type_of(directory.path, mounts)
    if kind not in filesystem.SHARED:
        return
    events = [event for event in read_journal(directory.log) if isinstance(event, SweepStarted | SweepEnded)]
    last = events[-1] if events else None
    if isinstance(last, SweepStarted) and last.host != socket.gethostname():
        message = (
            f"{directory.path} may still be run by pid {last.pid} on {last.host}: it is on {kind}, where locks of "
            f"another host may not be visible. Resume the sweep on that host or, if that host is gone, move "
            f"{directory.log.name} away"
        )
        raise RunBusy(message)
    say(f"{directory.path} is on {kind}, where locks may not work between hosts. Run this sweep from this host only")


def _create(  # noqa: PLR0913 - the parts of a new run
    directory: SweepDir, spec: SweepSpec, text: bytes, provenance: Mapping[str, object], say: Say, *, file: str | None
) -> Mapping[str, object]:
    found = prepared(spec, say)
    data = {key: found[key] for key in ("dataset", "tokenizer") if key in found}
    write_atomically(directory.sweep_yaml, text)
    published = redacted_values({**provenance, "data": found.get("provenance", {})})
    _write_spec(directory, spec, data, published, {} if file is None else {"file": file})
    return data


def _resume(directory: SweepDir, spec: SweepSpec, text: bytes, say: Say) -> Mapping[str, object]:
    try:
        kept = read_json(directory.spec)
    except RecordError as error:
        remedy = "Restore a copy of it, or move it away so that it is written anew from the sweep file"
        raise RecordError(f"{error}. {remedy}") from error
    data, provenance = _object(kept.get("data")), _object(kept.get("provenance"))
    old = SweepSpec.from_json(_object(kept.get("spec")))
    withdrawal = Withdrawal(directory)
    unread = _unread(directory, old) if old.metrics != spec.metrics else ()
    changes = changes_between(old, spec, unread=unread, never_ran=withdrawal.never_ran)
    if changes.conflicts:
        lines = "\n".join(f"  {line}" for line in changes.conflicts)
        message = (
            f"{directory.path}: the sweep file no longer matches the trials that have run there:\n{lines}\n"
            "Undo these changes, or give the sweep another name or another directory (--runs)"
        )
        raise SpecChanged(message)
    if changes.additions:
        for line in changes.additions:
            say(f"Added to the sweep: {line}")
        with JournalWriter(directory.log) as log:
            log.append(SpecTaken(time=time.time(), additions=changes.additions), sync=True)
        write_atomically(directory.sweep_yaml, text)
        withdrawn = _withdrawn(kept) | withdrawal.withdraw(old, spec)
        more = {key: kept[key] for key in ("file",) if key in kept}
        _write_spec(directory, spec, data, provenance, more | ({"withdrawn": sorted(withdrawn)} if withdrawn else {}))
    for key, value in data.items():
        say(f"{key}: {value}, as in earlier calls")
    return data


def _unread(directory: SweepDir, old: SweepSpec) -> frozenset[str]:
    """Return the names under `metrics` of which no trial has a value, such as those with a misspelt tag."""
    trials, _ = read_states(directory)
    return frozenset(old.metrics).difference(*(trial.progress.metrics for trial in trials))


def _write_spec(
    directory: SweepDir,
    spec: SweepSpec,
    data: Mapping[str, object],
    provenance: Mapping[str, object],
    more: Mapping[str, object],
) -> None:
    resolved = {
        "format": FORMAT,
        "name": spec.name,
        "spec": spec.to_json(),
        "data": dict(data),
        "provenance": dict(provenance),
        **more,
    }
    write_json(directory.spec, resolved)


def _withdrawn(kept: Mapping[str, object]) -> frozenset[int]:
    numbers = kept.get("withdrawn")
    return frozenset(number for number in _listed(numbers) if isinstance(number, int))


def prepared(spec: SweepSpec, say: Say) -> Mapping[str, object]:
    """Have the built-in trainer choose and encode its data, once for all trials, in a separate process.

    Returns:
        The chosen dataset and tokenizer, and their provenance; empty for a trainer that prepares nothing.

    Raises:
        DataUnavailable: none of the data sources is available.
    """
    trainer = TRAINERS.get(spec.trainer or "")
    if trainer is None or trainer.prepare is None:
        return {}
    defaults = trainer.defaults
    wanted = {
        "dataset": list(spec.dataset or _listed(defaults["dataset"])),
        "tokenizer": list(spec.tokenizer or _listed(defaults["tokenizer"])),
        "max_length": _values(spec, "max_length", defaults["max_length"]),
    }
    code, answer, lines = _run_module(trainer.prepare, json.dumps(wanted))
    for line in lines:
        say(line)
    if code:
        message = f"The data of {spec.trainer} could not be prepared:\n" + "\n".join(lines[-20:])
        raise DataUnavailable(message)
    return _object(json.loads(answer))


def _run_module(module: str, request: str) -> tuple[int, str, list[str]]:
    """Run a Python module with a text as its standard input; return exit code, output, and lines of standard error."""
    process = subprocess.Popen(
        [*isolated_python(), "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - all are pipes
        try:
            process.stdin.write(request)
            process.stdin.close()
            lines = [line.rstrip() for line in process.stderr]
            answer = process.stdout.read()
        except BaseException:  # an interrupt that only this process received
            process.kill()
            raise
    return process.returncode, answer, lines


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _values(spec: SweepSpec, name: str, default: object) -> list[object]:
    parameter = spec.parameters.get(name)
    if parameter is None:
        return [default]
    return list(values_of(parameter)) if isinstance(parameter, Choice | Constant) else []


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


# ---- trials -------------------------------------------------------------------------------------------------------


def make_trials(run: Run, wanted: Sequence[tuple[Configuration, int]], first: int) -> list[TrialRecord]:
    """Make a trial for each configuration and seed, numbered from `first`; they are on the disk when this returns.

    Several trials share one sync, because a sync for each of a thousand trials takes long.
    """
    made = [_make_trial(run, one, seed, number) for number, (one, seed) in enumerate(wanted, first)]
    if len(made) == 1:
        write_json(made[0].directory.facts, _json(made[0].facts))
        return made
    for trial in made:
        write_json(trial.directory.facts, _json(trial.facts), sync=False)
    if made:
        os.sync()
    return made


def make_reproduction(run: Run, trial: TrialRecord, source: TrialDir | None) -> None:
    """Make the only trial of a run that repeats a derived trial of another run; nothing happens if it exists.

    Args:
        run: the new run.
        trial: the derived trial.
        source: the trial that has the checkpoint from which it began; None if it began at the start.
    """
    facts, directory = trial.facts, run.directory.trial(0)
    if facts.derived is None or (directory.path.exists() and not directory.is_unmade):
        return
    params = {name: value for name, value in facts.params.items() if name not in run.data}
    derived = facts.derived if facts.derived.run else replace(facts.derived, run=trial.directory.path.parents[1].name)
    again = Configuration(number=0, params=params, derived=derived, until=facts.until)
    made = _make_trial(run, again, facts.seed, 0, source)
    write_json(made.directory.facts, _json(made.facts))


def _make_trial(
    run: Run, configuration: Configuration, seed: int, number: int, source: TrialDir | None = None
) -> TrialRecord:
    spec, directory = run.spec, run.directory.trial(number)
    with contextlib.suppress(OSError):
        confined.remove_folder(directory.path)  # if it exists, nothing of it has run
    try:
        with confined.folder(directory.path.parent) as trials:
            os.mkdir(directory.path.name, dir_fd=trials)
    except OSError as error:
        raise unwritable(directory.path, error) from error
    params = {**configuration.params, **run.data}
    varied = [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)]
    varied += [] if configuration.derived is None else [n for n in configuration.derived.changes if n not in varied]
    shown = {name: configuration.params[name] for name in varied if name in configuration.params}
    facts = Facts(
        number=number,
        configuration=configuration.number,
        seed=seed,
        seeds=len(spec.seeds),
        params=params,
        shown=shown,
        command=command_of(spec, params, seed),
        metric=spec.metric.name,
        maximize=spec.metric.goal is Goal.MAXIMIZE,
        at=spec.metric.at.value,
        objectives=spec.goals if spec.objectives else (),
        constraints=spec.bounds,
        checkpoint_every_s=spec.checkpoint.every_minutes * 60,
        resources=spec.resources.model_dump(),
        retry=RetryPolicy.read(spec.retry.model_dump(mode="json")),
        watch="" if spec.watch is None else spec.watch.value,
        nesting=spec.nesting,
        output_limit_mb=spec.output_limit_mb or 0.0,
        derived=_taken_over(source, run.directory, directory, configuration.derived),
        checkpoint_every_steps=spec.checkpoint.every_steps or 0,
        keep_healthy=spec.checkpoint.keep_healthy,
        until=configuration.until,
        on_spike=spec.on_spike.value,
        format=FORMAT,
    )
    return TrialRecord(directory=directory, facts=facts)


def _taken_over(
    source: TrialDir | None, run: SweepDir, trial: TrialDir, derived: Derivation | None
) -> Derivation | None:
    """Give a derived trial the checkpoint of its parent; if that is gone, the trial begins at the start."""
    if derived is None or not derived.checkpoint:
        return derived
    taken = take_over(source or run.trial(derived.parent), trial, derived.checkpoint)
    if taken is None:
        return replace(derived, step=START, checkpoint="", lr_factor=1.0, fresh_optimizer=False)
    return replace(derived, points_to=taken.points_to)


def _json(facts: Facts) -> dict[str, object]:
    return asdict(facts)
