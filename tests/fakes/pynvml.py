"""A management library without a GPU, by the names of the real one: what it knows stands in files below $FAKE_NVML.

    devices.json                 [{"uuid": ..., "name": ..., "total": ..., "slices": [{"uuid": ..., "total": ...}]}]
    on/UUID/PID                  a process on a device: "MEMORY [draws]", "none" where that is not told; gone with PID
    unseen/UUID                  bytes in use that no process is named for
    xids/UUID                    the numbers of errors that wait to be read, one a line
    lost/UUID                    the number of the error that the device's handle answers with

So processes of several programs see, and make, the same devices: it is imported in the place of `pynvml` where its
folder comes first on the path.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NOT_FOUND, NVML_ERROR_TIMEOUT = 3, 6, 10
NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED = 15, 16
NVML_DEVICE_MIG_DISABLE, NVML_DEVICE_MIG_ENABLE = 0, 1
nvmlEventTypeXidCriticalError = 8  # noqa: N816 - the library's names, here and below
nvmlMemory_v2 = 0x02000028  # noqa: N816


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__({15: "GPU is lost", 16: "GPU requires restart"}.get(value, f"error {value}"))


@dataclass(frozen=True)
class Handle:
    uuid: str
    total: int
    gpu: str = ""
    """Of a slice: the UUID of its GPU."""


@dataclass
class Answer:
    """What the library answers with: a structure."""

    total: int = 0
    used: int = 0
    pid: int = 0
    usedGpuMemory: int | None = None  # noqa: N815
    eventData: int = 0  # noqa: N815


def nvmlInit() -> None:  # noqa: N802
    _devices()


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return len(_devices())


def nvmlDeviceGetHandleByIndex(index: int) -> Handle:  # noqa: N802
    device = _devices()[index]
    return Handle(device["uuid"], device["total"])


def nvmlDeviceGetHandleByUUID(uuid: str) -> Handle:  # noqa: N802
    for device in _devices():
        for one in (device, *device.get("slices", ())):
            if one["uuid"] == uuid:
                return Handle(uuid, one["total"], "" if one is device else device["uuid"])
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def nvmlDeviceGetUUID(handle: Handle) -> str:  # noqa: N802
    return handle.uuid


def nvmlDeviceGetName(handle: Handle) -> str:  # noqa: N802
    return str(_device(handle.gpu or handle.uuid).get("name", "a GPU"))


def nvmlDeviceGetMigMode(handle: Handle) -> list[int]:  # noqa: N802
    slices = _device(handle.uuid).get("slices")
    if slices is None:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [NVML_DEVICE_MIG_ENABLE, NVML_DEVICE_MIG_ENABLE]


def nvmlDeviceGetMaxMigDeviceCount(handle: Handle) -> int:  # noqa: N802
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle: Handle, index: int) -> Handle:  # noqa: N802
    slices = _device(handle.uuid)["slices"]
    if index >= len(slices):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return Handle(slices[index]["uuid"], slices[index]["total"], handle.uuid)


def nvmlDeviceIsMigDeviceHandle(handle: Handle) -> int:  # noqa: N802
    return int(bool(handle.gpu))


def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle: Handle) -> Handle:  # noqa: N802
    return nvmlDeviceGetHandleByUUID(handle.gpu)


def nvmlDeviceGetMemoryInfo(handle: Handle, version: int | None = None) -> Answer:  # noqa: N802
    lost = _told("lost", handle.uuid)
    if lost:
        raise NVMLError(int(lost))
    used = sum(process.usedGpuMemory or 0 for process in _processes(handle, draws=None))
    return Answer(total=handle.total, used=used + int(_told("unseen", handle.uuid) or 0))


def nvmlDeviceGetComputeRunningProcesses(handle: Handle) -> list[Answer]:  # noqa: N802
    return _processes(handle, draws=False)


def nvmlDeviceGetGraphicsRunningProcesses(handle: Handle) -> list[Answer]:  # noqa: N802
    return _processes(handle, draws=True)


def nvmlEventSetCreate() -> list[str]:  # noqa: N802
    return []


def nvmlDeviceRegisterEvents(handle: Handle, kinds: int, events: list[str]) -> None:  # noqa: N802
    if handle.gpu or (_root() / "xids" / handle.uuid / "none").exists():
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    events.append(handle.uuid)


def nvmlEventSetWait_v2(events: list[str], timeout_ms: int) -> Answer:  # noqa: N802
    waiting = _told("xids", events[0]).split() if events else []
    if not waiting:
        raise NVMLError(NVML_ERROR_TIMEOUT)
    (_root() / "xids" / events[0]).write_text("\n".join(waiting[1:]))
    return Answer(eventData=int(waiting[0]))


class Fake:
    """The devices, for the code that makes them."""

    def __init__(self, root: Path, *devices: dict[str, Any]) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        (root / "devices.json").write_text(json.dumps(devices))

    def occupy(self, uuid: str, pid: int, told: object = 10**9) -> Path:
        """A process on a device, with so much memory."""
        return self._write("on", uuid, str(told), str(pid))

    def say(self, what: str, uuid: str, told: object) -> Path:
        """What stands below `unseen`, `xids` or `lost`."""
        return self._write(what, uuid, str(told))

    def _write(self, what: str, uuid: str, told: str, *names: str) -> Path:
        path = self.root.joinpath(what, uuid, *names)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        temporary.write_text(told)
        return temporary.replace(path)


def gpu(uuid: str, *, total: int = 80 * 10**9, slices: int | None = None, name: str = "Fake 80GB") -> dict[str, Any]:
    """A device; in MIG mode where it has a number of slices, of equal size."""
    mode: dict[str, Any] = {}
    if slices is not None:
        mode = {"slices": [{"uuid": f"MIG-{uuid}-{i}", "total": total // max(1, slices)} for i in range(slices)]}
    return {"uuid": uuid, "name": name, "total": total, **mode}


def _root() -> Path:
    return Path(os.environ.get("FAKE_NVML", "/nowhere"))


def _devices() -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads((_root() / "devices.json").read_bytes())
    except OSError as error:
        raise NVMLError(NVML_ERROR_NOT_FOUND) from error
    return found


def _device(uuid: str) -> dict[str, Any]:
    return next(device for device in _devices() if device["uuid"] == uuid)


def _told(what: str, uuid: str) -> str:
    try:
        return (_root() / what / uuid).read_text()
    except OSError:
        return ""


def _processes(handle: Handle, *, draws: bool | None) -> list[Answer]:
    found = []
    for path in (_root() / "on" / handle.uuid).glob("[0-9]*"):
        words = path.read_text().split()
        if not words:  # the file is being written
            continue
        if draws in (None, "draws" in words) and _lives(int(path.name)):
            memory = None if words[0] == "none" else int(words[0])
            found.append(Answer(pid=int(path.name), usedGpuMemory=memory))
    return found


def _lives(pid: int) -> bool:
    """Whether a process runs, or is one of another namespace: a number that no process here can have."""
    try:
        return pid > 2**22 or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
