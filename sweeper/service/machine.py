"""The queries that concern no run yet: this machine, a sweep file, and what it would run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import Mistake, SpecError, UsageError
from sweeper.record.storage.layout import SweepDir
from sweeper.service.answers.machine import Check, Doctor, FileMistake, Finding, Plan

if TYPE_CHECKING:
    from sweeper.config import SweepSpec

RUNS = Path("runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFile:
    """A sweep file and how it is read.

    Attributes:
        file: the file.
        overrides: overrides of its keys, as in `lr=1e-4`.
        profile: the name of the profile; by default, the first that fits this machine.
        runs: the directory of runs.
    """

    file: Path
    overrides: Sequence[str] = ()
    profile: str | None = None
    runs: Path = RUNS


def doctor(runs: Path = RUNS, environment: Mapping[str, str] | None = None) -> Doctor:
    """Check this machine; it takes seconds, because torch is imported in a process of its own."""
    from sweeper.preflight.doctor import Level, examine

    checks = list(examine(runs, os.environ if environment is None else environment))
    findings = [Finding(level=one.level.value, subject=one.subject, text=one.text, advice=one.advice) for one in checks]
    return Doctor(ready=all(one.level is not Level.TROUBLE for one in checks), findings=findings)


def loaded(source: SweepFile, devices: Sequence[str], *, say: Callable[[str], None], inspect: bool = True) -> SweepSpec:
    """Return the sweep of a file on a machine with these CUDA devices.

    Args:
        source: the file.
        devices: the CUDA devices.
        say: receives a line for each thing that may be wrong.
        inspect: whether what its command would run is checked too.

    Raises:
        UsageError: the file, its profile or its overrides are wrong.
    """
    from sweeper.config import load
    from sweeper.orchestrator.opening import name_of
    from sweeper.preflight.command.findings import findings
    from sweeper.trainers import TRAINERS, signature_of

    return load(
        source.file,
        overrides=source.overrides,
        profile=source.profile,
        has_cuda=bool(devices),
        trainers={name: trainer.defaults for name, trainer in TRAINERS.items()},
        functions=signature_of,
        named=lambda name: name_of(source.runs, source.file, name),
        inspect=findings if inspect else None,
        say=say,
    )


def missing_variables(spec: SweepSpec) -> str:
    """Return that an environment variable of a sweep is not set here; empty if all are."""
    from sweeper.executors.choice import require_variables

    try:
        require_variables(spec, os.environ)
    except UsageError as error:
        return f"{error}; `sweeper run` would refuse to start here"
    return ""


def check(source: SweepFile) -> Check:
    """Check a sweep file; its mistakes are part of the answer."""
    from sweeper.executors.gpus.devices import cuda_devices
    from sweeper.preflight.estimate import trials_of
    from sweeper.preflight.known import known_lines
    from sweeper.preflight.summary import size_text, sources_lines

    warnings: list[str] = []
    try:
        spec = loaded(source, cuda_devices(os.environ), say=warnings.append)
        notes = [*known_lines(spec, source.runs), *sources_lines(spec)]
    except UsageError as error:
        mistakes = [_mistake(one) for one in error.mistakes] if isinstance(error, SpecError) else [_unplaced(error)]
        return _checked(source, mistakes=mistakes, warnings=warnings)
    if missing := missing_variables(spec):
        warnings.append(missing)
    return Check(
        file=str(source.file),
        valid=True,
        mistakes=(),
        warnings=warnings,
        name=spec.name,
        profile=spec.profile,
        size=size_text(spec),
        trials=trials_of(spec),
        notes=notes,
    )


def plan(
    source: SweepFile, *, workers: int | None = None, against: Sequence[SweepDir] = (), examples: int | None = None
) -> Plan:
    """Return what a sweep file would run, with its time and disk use.

    Args:
        source: the file.
        workers: number of concurrent trials; by default, as many as fit.
        against: recorded runs to estimate from.
        examples: number of training examples; by default, that of the prepared data.

    Raises:
        UsageError: the file, its profile or its overrides are wrong.
    """
    from sweeper.executors.gpus.devices import cores, cuda_devices
    from sweeper.executors.machine import Machine
    from sweeper.preflight.estimate import capacity_of, disk_text, precedents, time_text, trials_of
    from sweeper.preflight.known import known_lines
    from sweeper.preflight.summary import examples_of, preflight_text, recorded

    warnings: list[str] = []
    machine = Machine(devices=cuda_devices(os.environ), cores=cores(), workers=workers)
    spec = loaded(source, machine.devices, say=warnings.append)
    if missing := missing_variables(spec):
        warnings.append(missing)
    runs = {run.path.resolve(): run for run in against}  # each counts once
    trials = [trial for run in runs.values() for trial in recorded(run)]
    known = examples_of(spec, examples)
    notes = known_lines(spec, source.runs)
    summary = preflight_text(spec, examples=known, against=trials)
    found, where = precedents(spec, runs.values()), capacity_of(spec, machine)
    place = next(path for path in (source.runs, *source.runs.absolute().parents) if path.is_dir())
    return Plan(
        file=str(source.file),
        name=spec.name,
        summary=summary.removesuffix("\n").split("\n"),
        notes=notes,
        warnings=warnings,
        trials=trials_of(spec),
        concurrent=where.count,
        slots=where.text,
        time=time_text(spec, found, examples=known[1] if known else None, concurrent=where.count),
        disk=disk_text(spec, found, free=shutil.disk_usage(place).free),
    )


def _checked(source: SweepFile, *, mistakes: Sequence[FileMistake], warnings: Sequence[str]) -> Check:
    return Check(
        file=str(source.file),
        valid=False,
        mistakes=mistakes,
        warnings=warnings,
        name="",
        profile=None,
        size="",
        trials=None,
        notes=(),
    )


def _mistake(one: Mistake) -> FileMistake:
    return FileMistake(where=one.where, key=one.key, expected=one.expected, got=one.got, hint=one.hint, text=str(one))


def _unplaced(error: UsageError) -> FileMistake:
    return FileMistake(where="", key="", expected="", got="", hint="", text=str(error))
