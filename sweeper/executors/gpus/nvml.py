"""What NVIDIA's management library says of the devices here, with answers in the place of its errors.

A device is a GPU, or a slice of one in MIG mode (Multi-Instance GPU): a GPU in that mode computes in its slices alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Foreign: TypeAlias = Any
"""The management library, and what it hands out: it ships no types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device by its UUID. `gpu` is the number of its GPU in the library's order, which is that of the PCI bus."""

    identifier: str
    model: str
    gpu: int
    is_slice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of a device, in bytes; `used` is without what the driver keeps for itself, where the library tells that apart."""

    total: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """On a device; `memory` in bytes, None where that is not told. It only draws, or it computes."""

    pid: int
    memory: int | None
    draws: bool = False


class Nvml:
    """The library, initialized."""

    def __init__(self, library: Foreign) -> None:
        self._library = library
        self._handles: dict[str, Foreign] = {}

    def devices(self) -> list[Device]:
        """All that may be used here, in the library's order; those that cannot be reached are left out."""
        library = self._library
        found: list[Device] = []
        try:
            count = library.nvmlDeviceGetCount()
        except library.NVMLError:
            return []
        for index in range(count):
            try:
                handle = library.nvmlDeviceGetHandleByIndex(index)
                found += self._devices_of(handle, index)
            except library.NVMLError:  # another container's, or lost
                continue
        return found

    def memory(self, identifier: str) -> Memory | None:
        """Of a device; None where that cannot be known."""
        library = self._library
        try:
            handle = self._handle(identifier)
            try:
                told = library.nvmlDeviceGetMemoryInfo(handle, version=library.nvmlMemory_v2)
            except library.NVMLError:  # an older driver
                told = library.nvmlDeviceGetMemoryInfo(handle)
        except library.NVMLError:
            return None
        return Memory(total=int(told.total), used=int(told.used))

    def processes(self, identifier: str) -> list[Process] | None:
        """Who is on a device; None where that cannot be known. In a container it may be fewer than there are."""
        library = self._library
        try:
            handle = self._handle(identifier)
            computing = library.nvmlDeviceGetComputeRunningProcesses(handle)
        except library.NVMLError:
            return None
        try:
            drawing = library.nvmlDeviceGetGraphicsRunningProcesses(handle)
        except library.NVMLError:
            drawing = []
        found = {one.pid: Process(pid=one.pid, memory=one.usedGpuMemory, draws=True) for one in drawing}
        found |= {one.pid: Process(pid=one.pid, memory=one.usedGpuMemory) for one in computing}
        return list(found.values())

    def _handle(self, identifier: str) -> Foreign:
        if identifier not in self._handles:
            self._handles[identifier] = self._library.nvmlDeviceGetHandleByUUID(identifier)
        return self._handles[identifier]

    def _devices_of(self, handle: Foreign, index: int) -> list[Device]:
        """A GPU, or its slices where it is in MIG mode."""
        library = self._library
        model = library.nvmlDeviceGetName(handle)
        try:
            in_slices = library.nvmlDeviceGetMigMode(handle)[0] == library.NVML_DEVICE_MIG_ENABLE
        except library.NVMLError:  # it knows no such mode
            in_slices = False
        if not in_slices:
            return [Device(identifier=library.nvmlDeviceGetUUID(handle), model=model, gpu=index)]
        slices = []
        for number in range(library.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                identifier = library.nvmlDeviceGetUUID(library.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
            except library.NVMLError:  # a place for a slice, without one
                continue
            slices.append(Device(identifier=identifier, model=model, gpu=index, is_slice=True))
        return slices


def management_library() -> Foreign | None:
    """The library, initialized; None where there is none, or no driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def nvml() -> Nvml | None:
    """What can be asked about devices, where anybody can."""
    library = management_library()
    return None if library is None else Nvml(library)
