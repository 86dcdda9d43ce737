"""Which executor a sweep asks for; Ray is imported only where it is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

from sweeper.config import Launch, Local, Ray, Slurm, SweepSpec, variables
from sweeper.errors import UsageError
from sweeper.executors.executor import Executor
from sweeper.executors.machine import Machine, executor_of_trials
from sweeper.record.storage.layout import SweepDir

LIBRARIES: Mapping[str, str] = {"ray": "ray"}
"""What an executor needs that is not installed with sweeper, but with its extra of the executor's name."""


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


def require_variables(spec: SweepSpec, environment: Mapping[str, str]) -> None:
    """See that trials find the variables that their command names; what other machines have, only they know.

    Raises:
        UsageError: one is not set.
    """
    missing = [name for name in variables(spec.command or ()) if name not in environment]
    if missing and isinstance(spec.executor, Local):
        name = missing[0]
        raise UsageError(f"command: ${{envvar:{name}}}: expected the variable {name} to be set, got none")


def executor_of(
    spec: SweepSpec, run: SweepDir, machine: Machine, *, peak_mb: Callable[[], float] = lambda: 0.0
) -> Executor:
    """The executor that a sweep asks for, ready to launch trials of the run.

    Args:
        peak_mb: tells what earlier calls measured a trial to take of its device; asked where trials are packed by it.

    Raises:
        UsageError: it cannot be had: its library is not installed, or its cluster cannot be reached.
    """
    require_library(spec)
    match spec.executor:
        case Ray() as settings:
            from sweeper.executors.ray.executor import RayExecutor

            return RayExecutor(spec, settings, run, machine, preload=spec.launch is Launch.PRELOAD)
        case Slurm() as settings:
            from sweeper.executors.slurm.executor import slurm_executor

            return slurm_executor(settings, spec.resources, machine.workers)
        case _:
            preload = spec.launch is Launch.PRELOAD
            return executor_of_trials(machine, run.path, spec.resources, preload=preload, peak_mb=peak_mb)
