"""Assembly of the local executor of a sweep: slots, reservations in the shared ledger, and packing by memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.config import MEASURED, Resources
from sweeper.errors import UsageError
from sweeper.executors.executor import CORES, Slot
from sweeper.executors.gpus.nvml import nvml
from sweeper.executors.local import LocalExecutor
from sweeper.executors.slots.division import Division, slots_of, whole_machine
from sweeper.executors.slots.ledger import SlotLedger, ledger_directory
from sweeper.executors.slots.packing import MIB, Packing
from sweeper.executors.slots.reservations import Reservations, unshared

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process may use of the machine.

    Attributes:
        devices: The identifiers of CUDA devices.
        cores: The number of processor cores.
        workers: The number of concurrent trials, here or on other machines; None: as many as fit.
        share: Whether slots are used even if other sweeps or processes use the same resources.
        environment: The environment of this process.
    """

    devices: Sequence[str]
    cores: int
    workers: int | None = None
    share: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def executor_of_trials(
    machine: Machine, run: Path, resources: Resources, *, preload: bool, peak_mb: Callable[[], float]
) -> LocalExecutor:
    """Return the executor for the trials of a run.

    Args:
        machine: What this process may use of the machine.
        run: The directory of the run.
        resources: What a trial needs.
        preload: Fork trials from a process that has already imported what they import.
        peak_mb: Returns the peak device memory of a trial, in MiB, that earlier commands measured (0: not known).
            Called only if trials are packed by measured memory.

    Raises:
        UsageError: The machine has no slot that is large enough.
    """
    library, division = nvml(), _division(machine, resources)
    slots = _slots(machine, resources, division)
    packing = None
    if division.measured and library is not None and division.on_devices:
        packing = Packing(division, library, time.monotonic, peak=peak_mb() * MIB)
    reservations = _reservations(machine, run, slots, share=machine.share)
    if resources.gpu_memory_gb is not None and division.on_devices and len(division.totals) < len(machine.devices):
        reservations.notes.append(
            "resources.gpu_memory_gb does not pack trials, because the memory size of a GPU cannot be read here"
        )
    return LocalExecutor(slots, preload=preload, reservations=reservations, packing=packing)


def slots_on(machine: Machine, resources: Resources) -> list[Slot]:
    """Return the slots that the trials of a sweep would have, without reserving any.

    Raises:
        UsageError: The machine has no slot that is large enough.
    """
    return _slots(machine, resources, _division(machine, resources))


def _division(machine: Machine, resources: Resources) -> Division:
    library, memory = nvml(), resources.gpu_memory_gb
    memories = {} if library is None else {device: library.memory(device) for device in machine.devices}
    return Division(
        devices=machine.devices,
        cores=machine.cores,
        workers=machine.workers,
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory=None if memory is None or isinstance(memory, str) else memory * GB,
        measured=memory == MEASURED,
        totals={device: known.total for device, known in memories.items() if known is not None},
    )


def _slots(machine: Machine, resources: Resources, division: Division) -> list[Slot]:
    slots = slots_of(division)
    if not slots:
        raise UsageError(_no_slot(resources, machine.devices, division))
    return slots


def executor_of_command(machine: Machine, run: Path) -> LocalExecutor:
    """Return the executor for a single command, which uses the whole machine without waiting for others to release it.

    Other sweeps on this machine wait until the command has ended.
    """
    slots = [whole_machine(machine.devices, machine.cores)]
    return LocalExecutor(slots, reservations=_reservations(machine, run, slots))


def _reservations(machine: Machine, run: Path, slots: Iterable[Slot], *, share: bool = False) -> Reservations:
    """Return reservations in the user's ledger, or in a temporary one, with a note, if that cannot be used."""
    wanted, notes = {key for slot in slots for key in slot.needs}, []
    try:
        directory = ledger_directory(machine.environment)
    except OSError as error:
        notes.append(unshared(error))
        directory = Path(tempfile.mkdtemp(prefix="sweeper-"))
    ledger = SlotLedger(directory, run, cores=machine.cores, cpus=sorted(os.sched_getaffinity(0)), wanted=wanted)
    return Reservations(ledger, nvml() if wanted - {CORES} else None, time.monotonic, share=share, notes=notes)


def _no_slot(resources: Resources, devices: Sequence[str], division: Division) -> str:
    wanted = resources.gpus or 1
    if wanted > 1:
        return f"resources.gpus: expected at most the number of whole GPUs here, {len(devices)}, got {wanted}"
    most = max(division.totals.values(), default=0) / GB
    got = resources.gpu_memory_gb
    return f"resources.gpu_memory_gb: expected at most the memory of the largest GPU here, {most:.1f} GB, got {got}"
