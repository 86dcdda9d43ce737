"""What this machine has for trials: CUDA devices and processor cores, as far as this process may use them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def cuda_devices(environment: Mapping[str, str]) -> list[str]:
    """Identifiers of the visible CUDA devices, as `CUDA_VISIBLE_DEVICES` takes them; an inherited one is respected."""
    inherited = environment.get("CUDA_VISIBLE_DEVICES")
    present = _present()
    if inherited is None:
        return present
    asked = [part.strip() for part in inherited.split(",") if part.strip()]
    if "-1" in asked:  # CUDA ignores what stands behind an invalid index
        asked = asked[: asked.index("-1")]
    return asked if present else []


def cores() -> int:
    """Processor cores that this process may use: its affinity, or less where a cgroup grants less."""
    mine = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        mine = min(mine, max(1, int(quota) // int(period)))  # "max" is no number: no quota
    return mine


def _present() -> list[str]:
    """UUIDs of the devices that the NVIDIA management library shows; none where there is no driver."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
