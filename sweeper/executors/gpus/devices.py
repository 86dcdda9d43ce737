"""What this machine has for trials: CUDA devices and processor cores, as far as this process may use them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.executors.gpus.nvml import Device, nvml

SLICE = "MIG-"
"""How the identifier of a slice of a GPU begins; the library and CUDA take it like a GPU's."""


def cuda_devices(environment: Mapping[str, str]) -> list[str]:
    """Identifiers of the visible CUDA devices, as `CUDA_VISIBLE_DEVICES` takes them; an inherited one is respected."""
    asked_of = nvml()
    present = [] if asked_of is None else asked_of.devices()
    inherited = environment.get("CUDA_VISIBLE_DEVICES")
    if inherited is None:
        return [device.identifier for device in present]
    asked = [part.strip() for part in inherited.split(",") if part.strip()]
    if "-1" in asked:  # CUDA ignores what stands behind an invalid index
        asked = asked[: asked.index("-1")]
    in_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return [_identified(word, present, in_order=in_order) for word in asked] if present else []


def cores() -> int:
    """Processor cores that this process may use: its affinity, or less where a cgroup grants less."""
    mine = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        mine = min(mine, max(1, int(quota) // int(period)))  # "max" is no number: no quota
    return mine


def _identified(word: str, present: Sequence[Device], *, in_order: bool) -> str:
    """The UUID that is meant, where there is no doubt; else the word as it came.

    CUDA counts from the fastest GPU unless told otherwise, and the management library along the bus: a number means the
    same to both where the order is set to be the same, or where all GPUs are of one model. A UUID may be cut short.
    """
    if word.isdecimal():
        of_gpu = [device for device in present if device.gpu == int(word)]
        sure = in_order or len({device.model for device in present}) == 1
        return of_gpu[0].identifier if sure and of_gpu else word
    meant = [device.identifier for device in present if device.identifier.startswith(word)]
    return meant[0] if len(meant) == 1 else word
