"""Opening a run: the directory, the lease, the resolved spec and its data; new, or as an earlier call left it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeper.config import Choice, Constant, Goal, SweepSpec, compare
from sweeper.errors import DataUnavailable, RecordError, RunBusy, SpecChanged, UsageError
from sweeper.orchestrator.trial_command import command_of
from sweeper.record.events import FORMAT, SpecTaken, SweepEnded, SweepStarted
from sweeper.record.fold import Retry
from sweeper.record.storage import filesystem
from sweeper.record.storage.claim import process_identity
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, read_json, write_atomically, write_json
from sweeper.record.storage.lease import Lease, acquire, holder_of, is_held
from sweeper.record.trial import Facts, Trial
from sweeper.record.values.redaction import redacted_values
from sweeper.search import Configuration
from sweeper.search.grid import values_of
from sweeper.trainers import TRAINERS

Say = Callable[[str], None]

HOLDER_S = 1.0
"""How long to wait for a living holder's name; on another host it has none here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An opened run, held by this process."""

    directory: SweepDir
    spec: SweepSpec
    lease: Lease
    data: Mapping[str, object] = field(default_factory=dict)


def open_run(  # noqa: PLR0913 - all by name
    spec: SweepSpec,
    *,
    text: bytes,
    runs: Path,
    provenance: Callable[[], Mapping[str, object]],
    say: Say,
    mounts: str | None = None,
) -> Run:
    """Take `runs/<name>`: make it, or go on with it.

    Args:
        text: the sweep file, byte for byte.
        provenance: called for a new run only.
        mounts: the text of a mountinfo file; by default this machine's.

    Raises:
        RunBusy: another orchestrator holds it, or may hold it on another host.
        SpecChanged: the file would change trials that already ran.
        UsageError: the directory cannot be written, or locks do not hold there.
        DataUnavailable: none of the data sources can be had.
    """
    directory = SweepDir(runs / spec.name)
    lease = _take(directory, say, filesystem.mountinfo() if mounts is None else mounts)
    try:
        if directory.spec.exists():
            data = _go_on(directory, spec, text, say)
        else:
            data = _begin(directory, spec, text, provenance(), say)
    except BaseException:
        lease.release()
        raise
    return Run(directory=directory, spec=spec, lease=lease, data=data)


def reopen_run(directory: SweepDir) -> Run:
    """Take an existing run as it is, without its sweep file.

    Raises:
        RunBusy: another orchestrator holds it.
        RecordError: its resolved sweep cannot be read.
    """
    lease = _take(directory, lambda _: None, filesystem.mountinfo())
    try:
        kept = read_json(directory.spec)
        spec = SweepSpec.from_json(_object(kept.get("spec")))
    except BaseException:
        lease.release()
        raise
    return Run(directory=directory, spec=spec, lease=lease, data=_object(kept.get("data")))


def _take(directory: SweepDir, say: Say, mounts: str) -> Lease:
    try:
        (directory.path / "trials").mkdir(parents=True, exist_ok=True)
        _look_at_locks(directory, say, mounts)
        lease = acquire(directory.lease, holder=f"pid {os.getpid()} on {socket.gethostname()}\n")
        locks = lease is None or is_held(directory.lease)
    except OSError as error:
        message = f"{directory.path}: expected a directory that can be written, got: {error.strerror}; see --runs"
        raise UsageError(message) from error
    if lease is not None and not locks:
        lease.release()
        message = (
            f"{directory.path}: expected a directory where locks hold (flock), got one where they do not; see --runs"
        )
        raise UsageError(message)
    if lease is None:
        message = (
            f"{directory.path}: is being run by {_holder(directory)}. "
            f"Watch it with `sweeper status {directory.path}`, or stop that process first"
        )
        raise RunBusy(message)
    return lease


def _holder(directory: SweepDir) -> str:
    """Who holds the run. Who has just taken it says so a moment later, and until then the one before stands there."""
    deadline = time.monotonic() + HOLDER_S
    while True:
        holder = holder_of(directory.lease)
        pid = holder.removeprefix("pid ").split(" ")[0]
        if (pid.isdecimal() and process_identity(int(pid))) or time.monotonic() > deadline:
            return holder or "another process"
        time.sleep(0.02)


def _look_at_locks(directory: SweepDir, say: Say, mounts: str) -> None:
    """Refuse a run on a shared file system that another host may still be at; else say what holds there.

    flock(2) holds among the processes of one host on all of them, which is all that the attempts of a sweep need.
    Whether another host sees it depends on the mount, so what it wrote into the record has to do.
    """
    kind = filesystem.type_of(directory.path, mounts)
    if kind not in filesystem.SHARED:
        return
    calls = [event for event in read_journal(directory.log) if isinstance(event, SweepStarted | SweepEnded)]
    last = calls[-1] if calls else None
    if isinstance(last, SweepStarted) and last.host != socket.gethostname():
        message = (
            f"{directory.path}: may still be run by pid {last.pid} on {last.host}: it lies on {kind}, where the locks "
            f"of another host may not be seen. Go on there; or, where that host is gone for good, move "
            f"{directory.log.name} away"
        )
        raise RunBusy(message)
    say(f"{directory.path} lies on {kind}: locks may not hold between hosts, so run this sweep from this one only")


def _begin(
    directory: SweepDir, spec: SweepSpec, text: bytes, provenance: Mapping[str, object], say: Say
) -> Mapping[str, object]:
    found = prepared(spec, say)
    data = {key: found[key] for key in ("dataset", "tokenizer") if key in found}
    write_atomically(directory.sweep_yaml, text)
    told = redacted_values({**provenance, "data": found.get("provenance", {})})
    _write_spec(directory, spec, data, told)
    return data


def _go_on(directory: SweepDir, spec: SweepSpec, text: bytes, say: Say) -> Mapping[str, object]:
    try:
        kept = read_json(directory.spec)
    except RecordError as error:
        remedy = "put a copy of it back, or move it away: then it is made anew from the sweep file"
        raise RecordError(f"{error}. It was written whole, so something else damaged it; {remedy}") from error
    data, provenance = _object(kept.get("data")), _object(kept.get("provenance"))
    changes = compare(SweepSpec.from_json(_object(kept.get("spec"))), spec)
    if changes.conflicts:
        lines = "\n".join(f"  {line}" for line in changes.conflicts)
        message = (
            f"{directory.path}: the sweep no longer fits what has run there:\n{lines}\n"
            "Give the sweep another name, or another place (--runs), or undo these changes"
        )
        raise SpecChanged(message)
    if changes.additions:
        for line in changes.additions:
            say(f"taken: {line}")
        with JournalWriter(directory.log) as log:
            log.append(SpecTaken(time=time.time(), additions=changes.additions), sync=True)
        write_atomically(directory.sweep_yaml, text)
        _write_spec(directory, spec, data, provenance)
    for key, value in data.items():
        say(f"{key}: {value}, as before")
    return data


def _write_spec(
    directory: SweepDir, spec: SweepSpec, data: Mapping[str, object], provenance: Mapping[str, object]
) -> None:
    resolved = {
        "format": FORMAT,
        "name": spec.name,
        "spec": spec.to_json(),
        "data": dict(data),
        "provenance": dict(provenance),
    }
    write_json(directory.spec, resolved)


def prepared(spec: SweepSpec, say: Say) -> Mapping[str, object]:
    """The data that the trainer chose and encoded, once for all trials, in a process of its own; with its provenance.

    Raises:
        DataUnavailable: it cannot be had.
    """
    trainer = TRAINERS.get(spec.trainer or "")
    if trainer is None or trainer.prepare is None:
        return {}
    defaults = trainer.defaults
    asked = {
        "dataset": list(spec.dataset or _listed(defaults["dataset"])),
        "tokenizer": list(spec.tokenizer or _listed(defaults["tokenizer"])),
        "max_length": _values(spec, "max_length", defaults["max_length"]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", trainer.prepare],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - they were asked for above
        try:
            process.stdin.write(json.dumps(asked))
            process.stdin.close()
            said = [line.rstrip() for line in process.stderr]
            answer = process.stdout.read()
        except BaseException:  # an interrupt that reached us alone
            process.kill()
            raise
    for line in said:
        say(line)
    if process.returncode:
        message = f"the data of {spec.trainer} could not be prepared:\n" + "\n".join(said[-20:])
        raise DataUnavailable(message)
    return _object(json.loads(answer))


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


def make_trials(run: Run, called_for: Sequence[tuple[Configuration, int]], first: int) -> list[Trial]:
    """Make a trial for each configuration and seed, numbered from `first`; they are on the disk when this returns.

    Many share one sync: a thousand trials would wait a thousand times for the disk.
    """
    made = [_make_trial(run, one, seed, number) for number, (one, seed) in enumerate(called_for, first)]
    if len(made) == 1:
        write_json(made[0].directory.facts, _written(made[0].facts))
        return made
    for trial in made:
        write_json(trial.directory.facts, _written(trial.facts), sync=False)
    if made:
        os.sync()
    return made


def _make_trial(run: Run, configuration: Configuration, seed: int, number: int) -> Trial:
    spec, directory = run.spec, run.directory.trial(number)
    shutil.rmtree(directory.path, ignore_errors=True)  # only ever a directory of which nothing ran
    directory.path.mkdir()
    params = {**configuration.params, **run.data}
    varied = [name for name, parameter in spec.parameters.items() if not isinstance(parameter, Constant)]
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
        checkpoint_every_s=spec.checkpoint.every_minutes * 60,
        resources=spec.resources.model_dump(),
        retry=Retry.read(spec.retry.model_dump(mode="json")),
    )
    return Trial(directory=directory, facts=facts)


def _written(facts: Facts) -> dict[str, object]:
    return {"format": FORMAT, **asdict(facts)}
