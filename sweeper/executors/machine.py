"""The local executor of a sweep on this machine: its slots, what else is known of its devices, and who shares them."""

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
from sweeper.executors.slots.ledger import Ledger, place_of_ledger
from sweeper.executors.slots.packing import MIB, Packing
from sweeper.executors.slots.reservations import Reservations

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process may use: CUDA devices by identifier, and how many cores.

    `workers` trials run at a time, here or elsewhere; None: as many as fit. With `share`, slots are used whoever else
    is on them.
    """

    devices: Sequence[str]
    cores: int
    workers: int | None = None
    share: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def executor_of_trials(
    machine: Machine, run: Path, resources: Resources, *, preload: bool, peak_mb: Callable[[], float]
) -> LocalExecutor:
    """The executor of a run's trials.

    Args:
        preload: fork trials from a process that has imported what they import.
        peak_mb: tells what earlier calls measured a trial to take of its device; asked where trials are packed by it.

    Raises:
        UsageError: no slot can be made of what there is.
    """
    asked, division = nvml(), _division(machine, resources)
    slots = _slots(machine, resources, division)
    packing = None
    if division.measured and asked is not None and division.on_devices:
        packing = Packing(division, asked, time.monotonic, peak=peak_mb() * MIB)
    reservations = _reservations(machine, run, slots, share=machine.share)
    if resources.gpu_memory_gb is not None and division.on_devices and len(division.totals) < len(machine.devices):
        reservations.notes.append("how much memory a GPU has cannot be known here: gpu_memory_gb packs no trials")
    return LocalExecutor(slots, preload=preload, reservations=reservations, packing=packing)


def slots_on(machine: Machine, resources: Resources) -> list[Slot]:
    """The slots that a sweep's trials would have; nothing is reserved.

    Raises:
        UsageError: no slot can be made of what there is.
    """
    return _slots(machine, resources, _division(machine, resources))


def _division(machine: Machine, resources: Resources) -> Division:
    asked, memory = nvml(), resources.gpu_memory_gb
    told = {} if asked is None else {device: asked.memory(device) for device in machine.devices}
    return Division(
        devices=machine.devices,
        cores=machine.cores,
        workers=machine.workers,
        gpus=resources.gpus,
        cpus=resources.cpus,
        memory=None if memory is None or isinstance(memory, str) else memory * GB,
        measured=memory == MEASURED,
        totals={device: known.total for device, known in told.items() if known is not None},
    )


def _slots(machine: Machine, resources: Resources, division: Division) -> list[Slot]:
    slots = slots_of(division)
    if not slots:
        raise UsageError(_no_slot(resources, machine.devices, division))
    return slots


def executor_of_one(machine: Machine, run: Path) -> LocalExecutor:
    """The executor of a command that has the whole machine, whoever else is there; others wait for it."""
    slots = [whole_machine(machine.devices, machine.cores)]
    return LocalExecutor(slots, reservations=_reservations(machine, run, slots))


def _reservations(machine: Machine, run: Path, slots: Iterable[Slot], *, share: bool = False) -> Reservations:
    """Reservations in the machine's ledger; where there can be none, in one of the run's own, and that is said."""
    wanted, notes = {key for slot in slots for key in slot.needs}, []
    try:
        place = place_of_ledger(machine.environment)
    except OSError as error:
        notes.append(f"slots are not shared with other sweeps on this machine: {error.filename}: {error.strerror}")
        place = Path(tempfile.mkdtemp(prefix="sweeper-"))
    ledger = Ledger(place, run, cores=machine.cores, cpus=sorted(os.sched_getaffinity(0)), wanted=wanted)
    return Reservations(ledger, nvml() if wanted - {CORES} else None, time.monotonic, share=share, notes=notes)


def _no_slot(resources: Resources, devices: Sequence[str], division: Division) -> str:
    wanted = resources.gpus or 1
    if wanted > 1:
        return f"resources.gpus: expected at most as many whole GPUs as there are, got {wanted}, of {len(devices)}"
    most = max(division.totals.values(), default=0) / GB
    got = resources.gpu_memory_gb
    return f"resources.gpu_memory_gb: expected at most what the largest GPU here has, {most:.1f} GB, got {got}"
