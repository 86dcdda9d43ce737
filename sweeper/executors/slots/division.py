"""How a machine is divided into the slots of a sweep: by devices, parts of them, or cores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeper.executors.executor import CORES, Slot
from sweeper.executors.gpus.devices import SLICE

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

MARGIN = 0.1
"""More than was measured is set aside for a trial: others may take a little more, and the allocator too."""

_LEAST = 1e-3
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What there is, and what a trial asks for.

    Attributes:
        devices: CUDA devices; with any, a slot has `gpus` of them (1), unless `gpus` is 0.
        cores: processor cores, divided among the slots as threads.
        workers: how many slots at most; by default as many as fit.
        gpus: devices a slot has: a part of one, or whole ones.
        cpus: cores a slot wants, and threads that it gets; by default the cores are shared out.
        memory: bytes of device memory that a trial takes; None where that is not said, or not known yet.
        measured: they are measured, and a trial has a device to itself until they are known.
        totals: bytes of memory of each device, where they are known.
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
        """Whether slots have devices."""
        return bool(self.devices) and self.gpus != 0

    def packed(self, peak: float) -> Division:
        """The division where a trial was seen to take so many bytes of a device."""
        return replace(self, memory=peak)


def slots_of(division: Division) -> list[Slot]:
    """The slots of a machine."""
    if not division.on_devices:
        return _cpu_slots(division)
    fit = _groups(division) if (division.gpus or 0) > 1 else _parts(division)
    # Of declared cores there are no more than there are, unless somebody says how many trials there shall be.
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
    """The slot of a trial that runs alone: every device that the caller sees, or else every core; it waits for nobody.

    The caller's own settings stand, so its environment says nothing.
    """
    needs = dict.fromkeys(devices, 1.0) or {CORES: float(cores)}
    return Slot(name="the whole machine", needs=needs, waits=False)


def threads_of(count: int) -> dict[str, str]:
    """The environment that keeps a worker's libraries to so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(count)) | {"TOKENIZERS_PARALLELISM": "false"}


def _cpu_slots(division: Division) -> list[Slot]:
    cores, cpus = division.cores, division.cpus
    count = division.workers or max(1, cores // (cpus or 1))
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if division.devices else {}
    threads = max(1, min(cpus or cores // count, cores))
    # More trials than cores are somebody's wish: together they take all cores, and no more.
    needs = {CORES: min(threads, cores / count)}
    return [Slot(name=f"cpu {i}", environment=threads_of(threads) | hidden, needs=needs) for i in range(count)]


def _groups(division: Division) -> dict[str, dict[str, float]]:
    """Several whole GPUs a slot, by its name. CUDA lets a process see one slice only, so slices are left out."""
    size = int(division.gpus or 1)
    whole = [
        i for i, device in enumerate(division.devices) if not device.startswith(SLICE) and _share(division, device)
    ]
    groups = [whole[start : start + size] for start in range(0, len(whole) - size + 1, size)]
    return {f"gpu {'+'.join(map(str, group))}": {division.devices[i]: 1.0 for i in group} for group in groups}


def _parts(division: Division) -> dict[str, dict[str, float]]:
    """The parts of each device, by their names: the first of every device, then the second ones."""
    found = []
    for index, device in enumerate(division.devices):
        share = _share(division, device)
        count = math.floor(1 / share + _ROUNDING) if share else 0
        for part in range(count):
            name = f"gpu {index}" if count == 1 else f"gpu {index} #{part + 1}"
            found.append((part, index, name, {device: share}))
    return {name: needs for _, _, name, needs in sorted(found, key=lambda entry: entry[:2])}


def _share(division: Division, device: str) -> float:
    """The part of a device that a trial takes, by what is declared and by its memory; 0 where it is too small."""
    declared = min(division.gpus or 0.0, 1.0)
    total = division.totals.get(device)
    if division.memory is None or total is None:
        return declared if declared and not division.measured else 1.0
    if division.memory > total:
        return 0.0
    wanted = division.memory * (1 + MARGIN if division.measured else 1.0)
    return max(min(wanted / total, 1.0), declared, _LEAST)
