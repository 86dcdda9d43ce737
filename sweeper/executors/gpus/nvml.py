"""Access to NVIDIA's management library (NVML). Methods return None or less instead of raising its errors.

A device is a GPU, or a slice of a GPU in MIG mode (Multi-Instance GPU): such a GPU runs programs in its slices only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Foreign: TypeAlias = Any
"""The management library and the objects that it returns; it has no type annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device.

    Attributes:
        identifier: The UUID.
        model: The name of the GPU model.
        gpu: The index of the GPU in the library's order, which is that of the PCI bus.
        is_slice: Whether the device is a MIG slice.
    """

    identifier: str
    model: str
    gpu: int
    is_slice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """The memory of a device, in bytes. `used` excludes what the driver reserves, if the library reports that."""

    total: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProcess:
    """A process on a device.

    Attributes:
        pid: The process id, in the PID namespace of the driver.
        memory: Device memory in bytes; None if the library does not report it.
        graphics_only: Whether the process only uses graphics (a desktop), not CUDA.
    """

    pid: int
    memory: int | None
    graphics_only: bool = False


class Nvml:
    """The initialized library."""

    def __init__(self, library: Foreign) -> None:
        self._library = library
        self._handles: dict[str, Foreign] = {}

    def devices(self) -> list[Device]:
        """Return the usable devices in the library's order. Devices that cannot be accessed are left out."""
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

    def memory(self, identifier: str) -> DeviceMemory | None:
        """Return the memory of a device; None if the library cannot report it."""
        library = self._library
        try:
            handle = self._handle(identifier)
            try:
                info = library.nvmlDeviceGetMemoryInfo(handle, version=library.nvmlMemory_v2)
            except library.NVMLError:  # an older driver
                info = library.nvmlDeviceGetMemoryInfo(handle)
        except library.NVMLError:
            return None
        return DeviceMemory(total=int(info.total), used=int(info.used))

    def processes(self, identifier: str) -> list[DeviceProcess] | None:
        """Return the processes on a device; None if they cannot be listed. Some may be missing in a container."""
        library = self._library
        try:
            handle = self._handle(identifier)
            computing = library.nvmlDeviceGetComputeRunningProcesses(handle)
        except library.NVMLError:
            return None
        try:
            graphics = library.nvmlDeviceGetGraphicsRunningProcesses(handle)
        except library.NVMLError:
            graphics = []
        found = {p.pid: DeviceProcess(pid=p.pid, memory=p.usedGpuMemory, graphics_only=True) for p in graphics}
        found |= {p.pid: DeviceProcess(pid=p.pid, memory=p.usedGpuMemory) for p in computing}
        return list(found.values())

    def _handle(self, identifier: str) -> Foreign:
        if identifier not in self._handles:
            self._handles[identifier] = self._library.nvmlDeviceGetHandleByUUID(identifier)
        return self._handles[identifier]

    def _devices_of(self, handle: Foreign, index: int) -> list[Device]:
        """Return a GPU, or its slices if it is in MIG mode."""
        library = self._library
        model = library.nvmlDeviceGetName(handle)
        try:
            in_slices = library.nvmlDeviceGetMigMode(handle)[0] == library.NVML_DEVICE_MIG_ENABLE
        except library.NVMLError:  # the GPU does not support MIG
            in_slices = False
        if not in_slices:
            return [Device(identifier=library.nvmlDeviceGetUUID(handle), model=model, gpu=index)]
        slices = []
        for number in range(library.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                identifier = library.nvmlDeviceGetUUID(library.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
            except library.NVMLError:  # this index has no slice
                continue
            slices.append(Device(identifier=identifier, model=model, gpu=index, is_slice=True))
        return slices


def management_library() -> Foreign | None:
    """Return the initialized library; None if the library or the driver is missing."""
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
    """Return access to the library; None if the library or the driver is missing."""
    library = management_library()
    return None if library is None else Nvml(library)
