"""Detection of lost CUDA devices with NVIDIA's management library.

A device is lost if the driver reports an Xid error that only a reset clears, or if a call with its handle reports that
the GPU is lost. Xid errors that a program causes itself (13, 31, 43, ...) do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweeper.executors.gpus.nvml import Foreign, management_library

CHECK_EVERY_S = 5.0

FATAL_XIDS: Mapping[int, str] = {
    48: "double-bit memory error",
    79: "fallen off the bus",
    95: "uncontained memory error",
    119: "its GPU System Processor does not respond",
    120: "its GPU System Processor reported an error",
}
"""Xid errors after which a device does no work before it is reset (NVIDIA, "XID Errors")."""


@dataclass(frozen=True, slots=True)
class _Watched:
    handle: Foreign
    events: Foreign


class LostDevices:
    """Asks the management library which of some devices are lost."""

    def __init__(self, devices: Sequence[str], nvml: Foreign, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Register for the Xid events of the devices.

        Args:
            devices: UUIDs. Other identifiers are ignored: CUDA may count devices in another order than the library.
            nvml: The library; not used if there are no devices.
            clock: Returns monotonic seconds.
        """
        self._nvml = nvml
        self._clock = clock
        self._checked = clock()
        self._faults: dict[str, str] = {}
        self._watched: dict[str, _Watched] = {}
        for device in devices:
            try:
                handle = nvml.nvmlDeviceGetHandleByUUID(device)
            except nvml.NVMLError:
                continue
            self._watched[device] = _Watched(handle, self._events_of(handle))

    def faults(self) -> Mapping[str, str]:
        """Return the fault of each lost device, by identifier. Devices are checked every `CHECK_EVERY_S` at most."""
        if self._clock() - self._checked >= CHECK_EVERY_S:
            self._checked = self._clock()
            for device, watched in self._watched.items():
                fault = self._fault_of(watched)
                if fault:
                    self._faults.setdefault(device, fault)
        return dict(self._faults)

    def _events_of(self, handle: Foreign) -> Foreign:
        """Return an event set for one device, so that the set identifies the device; None if it has no events.

        A MIG slice has no events of its own, so those of its GPU are used.
        """
        nvml = self._nvml
        try:
            if nvml.nvmlDeviceIsMigDeviceHandle(handle):
                handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        except nvml.NVMLError:  # the driver does not know MIG
            pass
        try:
            events = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, events)
        except nvml.NVMLError:
            return None
        return events

    def _fault_of(self, watched: _Watched) -> str:
        nvml = self._nvml
        for xid in self._xids(watched.events):
            if xid in FATAL_XIDS:
                return f"Xid {xid}: {FATAL_XIDS[xid]}"
        try:
            nvml.nvmlDeviceGetMemoryInfo(watched.handle)
        except nvml.NVMLError as error:
            if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
                return str(error)
        return ""

    def _xids(self, events: Foreign) -> list[int]:
        """Return the Xid errors since the last check. With a timeout of 0 the library ends the list by an error."""
        nvml = self._nvml
        found: list[int] = []
        try:
            while events is not None:
                found.append(int(nvml.nvmlEventSetWait_v2(events, 0).eventData))
        except nvml.NVMLError:
            pass
        return found


def lost_devices(devices: Sequence[str]) -> LostDevices:
    """Return a detector for these devices; without the library or without devices it never reports any."""
    library = management_library() if devices else None
    return LostDevices(devices if library is not None else [], library)
