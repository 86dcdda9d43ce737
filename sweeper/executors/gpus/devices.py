"""CUDA devices and processor cores that this process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.executors.gpus.nvml import Device, nvml

SLICE = "MIG-"
"""The prefix of the UUID of a MIG slice. The library and CUDA accept it like the UUID of a GPU."""


def cuda_devices(environment: Mapping[str, str]) -> list[str]:
    """Return the identifiers of the visible CUDA devices, in the form that `CUDA_VISIBLE_DEVICES` takes.

    Args:
        environment: The environment of this process. If it sets `CUDA_VISIBLE_DEVICES`, only those devices count.
    """
    library = nvml()
    present = [] if library is None else library.devices()
    inherited = environment.get("CUDA_VISIBLE_DEVICES")
    if inherited is None:
        return [device.identifier for device in present]
    visible = [word.strip() for word in inherited.split(",") if word.strip()]
    if "-1" in visible:  # CUDA ignores everything after an invalid index
        visible = visible[: visible.index("-1")]
    in_bus_order = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return [_identified(word, present, in_bus_order=in_bus_order) for word in visible] if present else []


def cores() -> int:
    """Return the number of processor cores that this process may use, by its affinity and its cgroup's quota."""
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))  # without a quota the file has the word "max"
    return count


def _identified(word: str, present: Sequence[Device], *, in_bus_order: bool) -> str:
    """Return the UUID of a device that is given by index, UUID or prefix of a UUID; the word itself if it is ambiguous.

    CUDA counts from the fastest GPU by default, the management library in the order of the bus. An index means the same
    device to both only if CUDA uses the order of the bus too, or if all GPUs are of the same model.
    """
    if word.isdecimal():
        of_gpu = [device for device in present if device.gpu == int(word)]
        unambiguous = in_bus_order or len({device.model for device in present}) == 1
        return of_gpu[0].identifier if unambiguous and of_gpu else word
    matching = [device.identifier for device in present if device.identifier.startswith(word)]
    return matching[0] if len(matching) == 1 else word
