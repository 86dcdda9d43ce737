"""Which executor a sweep asks for; Ray is imported only where it is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.errors import UsageError
from sweeper.executors.executor import Executor
from sweeper.executors.local import LocalExecutor, local_slots
from sweeper.record.layout import SweepDir
from sweeper.spec import Launch, Ray, Slurm, SweepSpec

LIBRARIES: Mapping[str, str] = {"ray": "ray"}
"""What an executor needs that is not installed with sweeper, but with its extra of the executor's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine has for trials, and how many may run at a time, there or elsewhere; None: as many as fit."""

    devices: Sequence[str]
    cores: int
    workers: int | None = None


def require_library(spec: SweepSpec) -> None:
    """See that the executor of a sweep can be had.

    Raises:
        UsageError: its library is not installed.
    """
    name = spec.executor.type
    library = LIBRARIES.get(name)
    if library is not None and importlib.util.find_spec(library) is None:
        raise UsageError(
            f'executor: {name}: expected {library} to be installed, got none; pip install "sweeper[{name}]"'
        )


def executor_of(spec: SweepSpec, run: SweepDir, machine: Machine) -> Executor:
    """The executor that a sweep asks for, ready to launch trials of the run.

    Raises:
        UsageError: it cannot be had: its library is not installed, or its cluster cannot be reached.
    """
    require_library(spec)
    match spec.executor:
        case Ray() as settings:
            from sweeper.executors.ray.executor import RayExecutor

            return RayExecutor(spec, settings, run, machine, preload=spec.launch is Launch.PRELOAD)
        case Slurm() as settings:
            from sweeper.executors.slurm import slurm_executor

            return slurm_executor(settings, spec.resources, machine.workers)
        case _:
            resources = spec.resources
            slots = local_slots(
                devices=machine.devices,
                cores=machine.cores,
                workers=machine.workers,
                gpus=resources.gpus,
                cpus=resources.cpus,
            )
            return LocalExecutor(slots, preload=spec.launch is Launch.PRELOAD)
