"""Make the executor that a sweep asks for. Ray is imported only for a sweep that uses it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence

from sweeper.config import (
    Choice,
    Constant,
    LaunchMode,
    Local,
    Parameter,
    Ray,
    Slurm,
    SweepSpec,
    Value,
    variables,
)
from sweeper.errors import UsageError
from sweeper.executors.executor import Executor
from sweeper.executors.machine import Machine, executor_of_trials
from sweeper.record.storage.layout import SweepDir

LIBRARIES: Mapping[str, str] = {"ray": "ray"}
"""The library that each executor needs beyond the core of sweeper; the extra of the executor's name installs it."""


def require_library(spec: SweepSpec) -> None:
    """Check that the library of a sweep's executor is installed.

    Raises:
        UsageError: The library is not installed.
    """
    name = spec.executor.type
    library = LIBRARIES.get(name)
    if library is not None and importlib.util.find_spec(library) is None:
        raise UsageError(
            f'executor: {name}: expected {library} to be installed, got none; pip install "sweeper[{name}]"'
        )


def require_variables(spec: SweepSpec, environment: Mapping[str, str]) -> None:
    """Check that the environment variables that a sweep names in `${envvar:NAME}` are set.

    Variables that sweeper itself sets for trials, such as `SWEEPER_TRIAL_DIR`, need not be set here. Only local sweeps
    are checked: the environment on other machines is not known here.

    Raises:
        UsageError: A variable is not set.
    """
    if not isinstance(spec.executor, Local):
        return
    resume = spec.resume_args
    for key, words in {
        "command": spec.command or (),
        "resume_args": (*resume.args, resume.if_exists) if resume else (),
        **({} if spec.trainer else {f"parameters.{name}": _values(one) for name, one in spec.parameters.items()}),
    }.items():
        for name in variables(words):
            if name not in environment:
                raise UsageError(f"{key}: ${{envvar:{name}}}: expected the variable {name} to be set, got none")


def _values(parameter: Parameter) -> Sequence[Value]:
    match parameter:
        case Constant():
            return (parameter.value,)
        case Choice():
            return parameter.values
    return ()


def executor_of(
    spec: SweepSpec, run: SweepDir, machine: Machine, *, peak_mb: Callable[[], float] = lambda: 0.0
) -> Executor:
    """Return the executor that a sweep asks for, ready to launch trials of the run.

    Args:
        spec: The sweep.
        run: The directory of the run.
        machine: What this process may use of the machine.
        peak_mb: Returns the peak device memory of a trial, in MiB, that earlier commands measured (0: not known).
            Called only if trials are packed by measured memory.

    Raises:
        UsageError: The library of the executor is not installed, its cluster cannot be reached, or the machine has
            no slot that is large enough.
    """
    require_library(spec)
    match spec.executor:
        case Ray() as settings:
            from sweeper.executors.ray.executor import RayExecutor

            return RayExecutor(spec, settings, run, machine, preload=spec.launch is LaunchMode.PRELOAD)
        case Slurm() as settings:
            from sweeper.executors.slurm.executor import slurm_executor

            return slurm_executor(settings, spec.resources, machine.workers)
        case _:
            preload = spec.launch is LaunchMode.PRELOAD
            return executor_of_trials(machine, run.path, spec.resources, preload=preload, peak_mb=peak_mb)
