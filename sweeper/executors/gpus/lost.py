"""Which CUDA devices are lost, as NVIDIA's management library tells it; looked at now and then, by nobody's thread.

A device is lost where the driver reports an Xid error that only a reset mends, or where its handle answers that it is
gone. Errors that a program brings upon itself (Xid 13, 31, 43, ...) say nothing about the device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sweeper.executors.gpus.nvml import Foreign, management_library

LOOK_EVERY_S = 5.0

FATAL_XIDS: Mapping[int, str] = {
    48: "double-bit memory error",
    79: "fallen off the bus",
    95: "uncontained memory error",
    119: "its system processor does not answer",
    120: "its system processor has an error",
}
"""Xid errors after which a device does no work before it is reset (NVIDIA, "XID Errors")."""


class Health(Protocol):
    """Whoever knows of lost devices."""

    def faults(self) -> Mapping[str, str]:
        """What is wrong with each device that is lost, by its identifier."""


class NothingKnown:
    """The health of devices that nobody can be asked about."""

    def faults(self) -> Mapping[str, str]:
        """Of nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class _Watched:
    handle: Foreign
    events: Foreign


class NvmlHealth:
    """Asks the management library about devices that are named by UUID; an index may mean another device to CUDA."""

    def __init__(self, devices: Sequence[str], nvml: Foreign, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml = nvml
        self._clock = clock
        self._looked = clock()
        self._faults: dict[str, str] = {}
        self._watched: dict[str, _Watched] = {}
        for device in devices:
            try:
                handle = nvml.nvmlDeviceGetHandleByUUID(device)
            except nvml.NVMLError:
                continue
            self._watched[device] = _Watched(handle, self._events_of(handle))

    def faults(self) -> Mapping[str, str]:
        """What is wrong with each device that was found lost; looks anew every `LOOK_EVERY_S` seconds at most."""
        if self._clock() - self._looked >= LOOK_EVERY_S:
            self._looked = self._clock()
            for device, watched in self._watched.items():
                fault = self._fault_of(watched)
                if fault:
                    self._faults.setdefault(device, fault)
        return dict(self._faults)

    def _events_of(self, handle: Foreign) -> Foreign:
        """A set of its own for the device's events, so that the set tells which device; None where it has none.

        A slice has no events: those of its GPU are its own.
        """
        nvml = self._nvml
        try:
            if nvml.nvmlDeviceIsMigDeviceHandle(handle):
                handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        except nvml.NVMLError:  # the driver knows of no slices
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
        """The Xid errors since the last look; waiting for none, the library ends the list by an error."""
        found: list[int] = []
        try:
            while events is not None:
                found.append(int(self._nvml.nvmlEventSetWait_v2(events, 0).eventData))
        except self._nvml.NVMLError:
            pass
        return found


def health_of(devices: Sequence[str]) -> Health:
    """The health of these devices, as far as it can be known."""
    if not devices:
        return NothingKnown()
    library = management_library()
    return NothingKnown() if library is None else NvmlHealth(devices, library)
