"""Division of a machine into the slots of a sweep: by devices, fractions of devices, or cores. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.executors.executor import CORES, Slot
from sweeper.executors.gpus.devices import SLICE

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

MARGIN = 0.1
"""The fraction that is added to measured memory: another trial, or the allocator, may take a little more."""

_MIN_FRACTION = 1e-3
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The resources of a machine, and what a trial needs of them.

    Attributes:
        devices: The identifiers of CUDA devices. If there are any, slots are on devices unless `gpus` is 0.
        cores: The number of processor cores.
        workers: The maximum number of slots (default: as many as fit).
        gpus: The number of devices of a slot: a fraction of one, or a whole number (default: 1).
        cpus: The number of cores and threads of a slot (default: the cores are divided evenly).
        memory: The device memory of a trial in bytes; None if it is not given or not measured yet.
        measured: Whether `memory` comes from a measurement; until it is known, each trial has a device of its own.
        totals: The memory of each device in bytes, by identifier, without devices of unknown memory.
    """

    devices: Sequence[str]
    cores: int
    workers: int | None = None
    gpus: float | None = None
    cpus: int | None = None
    memory: float | None = None
    measured: bool = False
    totals: Mapping[str, int] = field(default_factory=dict)

    @property
    def on_devices(self) -> bool:
        """Whether slots are on devices."""
        return bool(self.devices) and self.gpus != 0

    def with_memory(self, peak: float) -> Division:
        """Return the division for trials with a measured peak device memory, in bytes."""
        return replace(self, memory=peak)


def slots_of(division: Division) -> list[Slot]:
    """Return the slots of a machine; none if no device has enough memory, or too few devices are there."""
    if not division.on_devices:
        return _cpu_slots(division)
    fit = _groups(division) if (division.gpus or 0) > 1 else _fractions(division)
    # Slots do not need more cores than the machine has, unless the user gives the number of trials.
    count = division.workers or (max(1, division.cores // division.cpus) if division.cpus else len(fit))
    chosen = dict(list(fit.items())[:count])
    threads = division.cpus or max(1, division.cores // max(1, len(chosen)))
    cores = {CORES: min(division.cpus, division.cores / max(1, len(chosen)))} if division.cpus else {}
    return [
        Slot(
            name=name,
            environment=threads_of(threads) | {"CUDA_VISIBLE_DEVICES": ",".join(needs)},
            needs={**needs, **cores},
        )
        for name, needs in chosen.items()
    ]


def whole_machine(devices: Sequence[str], cores: int) -> Slot:
    """Return a slot with every device, or with every core if there are no devices, which does not wait for others.

    Its environment is empty, so that the variables of the caller stay as they are.
    """
    needs = dict.fromkeys(devices, 1.0) or {CORES: float(cores)}
    return Slot(name="the whole machine", needs=needs, waits=False)


def threads_of(count: int) -> dict[str, str]:
    """Return the environment variables that limit numerical libraries to `count` threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(count)) | {"TOKENIZERS_PARALLELISM": "false"}


def _cpu_slots(division: Division) -> list[Slot]:
    cores, cpus = division.cores, division.cpus
    count = division.workers or max(1, cores // (cpus or 1))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if division.devices else {}
    threads = max(1, min(cpus or cores // count, cores))
    # The user may ask for more trials than there are cores. Together they need all cores, not more.
    needs = {CORES: min(threads, cores / count)}
    return [Slot(name=f"cpu {i}", environment=threads_of(threads) | hidden, needs=needs) for i in range(count)]


def _groups(division: Division) -> dict[str, dict[str, float]]:
    """Return the needs of slots with several whole GPUs each, by the name of the slot.

    MIG slices are left out, because CUDA shows a process at most one slice.
    """
    size = int(division.gpus or 1)
    whole = [
        i for i, device in enumerate(division.devices) if not device.startswith(SLICE) and _fraction(division, device)
    ]
    groups = [whole[start : start + size] for start in range(0, len(whole) - size + 1, size)]
    return {f"gpu {'+'.join(map(str, group))}": {division.devices[i]: 1.0 for i in group} for group in groups}


def _fractions(division: Division) -> dict[str, dict[str, float]]:
    """Return the needs of slots on a fraction of one device each, by the name of the slot.

    The first slot of every device comes before the second slot of any device.
    """
    found = []
    for index, device in enumerate(division.devices):
        fraction = _fraction(division, device)
        count = math.floor(1 / fraction + _ROUNDING) if fraction else 0
        for number in range(count):
            name = f"gpu {index}" if count == 1 else f"gpu {index} #{number + 1}"
            found.append((number, index, name, {device: fraction}))
    return {name: needs for _, _, name, needs in sorted(found, key=lambda entry: entry[:2])}


def _fraction(division: Division, device: str) -> float:
    """Return the fraction of a device that a trial needs, by declaration and by memory; 0 if it does not fit."""
    declared = min(division.gpus or 0.0, 1.0)
    total = division.totals.get(device)
    if division.memory is None or total is None:
        return declared if declared and not division.measured else 1.0
    if division.memory > total:
        return 0.0
    needed = division.memory * (1 + MARGIN if division.measured else 1.0)
    return max(min(needed / total, 1.0), declared, _MIN_FRACTION)
