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

from sweeper.errors import DataUnavailable, RunBusy, SpecChanged, UsageError
from sweeper.orchestrator.command import command_of
from sweeper.record.events import FORMAT, SpecTaken
from sweeper.record.journal import JournalWriter
from sweeper.record.layout import SweepDir, TrialDir, read_json, write_atomically, write_json
from sweeper.record.lease import Lease, acquire, holder_of
from sweeper.record.redaction import redacted_values
from sweeper.record.trial import Facts
from sweeper.search import Configuration
from sweeper.search.grid import values_of
from sweeper.spec import Choice, Constant, Goal, SweepSpec, compare
from sweeper.trainers import TRAINERS

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An opened run, held by this process."""

    directory: SweepDir
    spec: SweepSpec
    lease: Lease
    data: Mapping[str, object] = field(default_factory=dict)


def open_run(
    spec: SweepSpec, *, text: bytes, runs: Path, provenance: Callable[[], Mapping[str, object]], say: Say
) -> Run:
    """Take `runs/<name>`: make it, or go on with it.

    Args:
        text: the sweep file, byte for byte.
        provenance: called for a new run only.

    Raises:
        RunBusy: another orchestrator holds it.
        SpecChanged: the file would change trials that already ran.
        UsageError: the directory cannot be written.
        DataUnavailable: none of the data sources can be had.
    """
    directory = SweepDir(runs / spec.name)
    lease = _take(directory)
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
    lease = _take(directory)
    try:
        kept = read_json(directory.spec)
        spec = SweepSpec.from_json(_object(kept.get("spec")))
    except BaseException:
        lease.release()
        raise
    return Run(directory=directory, spec=spec, lease=lease, data=_object(kept.get("data")))


def _take(directory: SweepDir) -> Lease:
    try:
        (directory.path / "trials").mkdir(parents=True, exist_ok=True)
        lease = acquire(directory.lease, holder=f"pid {os.getpid()} on {socket.gethostname()}\n")
    except OSError as error:
        message = f"{directory.path}: expected a directory that can be written, got: {error.strerror}; see --runs"
        raise UsageError(message) from error
    if lease is None:
        message = (
            f"{directory.path}: is being run by {holder_of(directory.lease)}. "
            f"Watch it with `sweeper status {directory.path}`, or stop that process first"
        )
        raise RunBusy(message)
    return lease


def _begin(
    directory: SweepDir, spec: SweepSpec, text: bytes, provenance: Mapping[str, object], say: Say
) -> Mapping[str, object]:
    prepared = _prepared(spec, say)
    data = {key: prepared[key] for key in ("dataset", "tokenizer") if key in prepared}
    write_atomically(directory.sweep_yaml, text)
    told = redacted_values({**provenance, "data": prepared.get("provenance", {})})
    _write_spec(directory, spec, data, told)
    return data


def _go_on(directory: SweepDir, spec: SweepSpec, text: bytes, say: Say) -> Mapping[str, object]:
    kept = read_json(directory.spec)
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


def _prepared(spec: SweepSpec, say: Say) -> Mapping[str, object]:
    """Let the trainer choose its data and encode it, once for all trials, in a process of its own."""
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
        process.stdin.write(json.dumps(asked))
        process.stdin.close()
        said = [line.rstrip() for line in process.stderr]
        answer = process.stdout.read()
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


def add_trials(run: Run, proposed: Sequence[Configuration]) -> list[TrialDir]:
    """Make the trials that the configurations and seeds of the sweep call for and that are not there; returns them."""
    facts = [Facts.read(trial) for trial in run.directory.trials()]
    present = {(fact.configuration, fact.seed) for fact in facts}
    number = max((fact.number for fact in facts), default=-1) + 1
    made = []
    for seed in run.spec.seeds:
        for configuration in proposed:
            if (configuration.number, seed) not in present:
                made.append(_make_trial(run, configuration, seed, number))
                number += 1
    return made


def _make_trial(run: Run, configuration: Configuration, seed: int, number: int) -> TrialDir:
    spec, trial = run.spec, run.directory.trial(number)
    shutil.rmtree(trial.path, ignore_errors=True)  # only ever a directory whose facts were never written
    trial.path.mkdir()
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
        command=command_of(spec, params),
        metric=spec.metric.name,
        maximize=spec.metric.goal is Goal.MAXIMIZE,
        at=spec.metric.at.value,
        checkpoint_every_s=spec.checkpoint.every_minutes * 60,
        resources=spec.resources.model_dump(),
    )
    write_json(trial.facts, {"format": FORMAT, **asdict(facts)})
    return trial
