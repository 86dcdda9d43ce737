"""`sweeper` with some of its surroundings faked: `python -m tests.faults.faked gpus grace_s=1 run sweep.yaml`.

Faked is what cannot be had here: a process that no signal ends, CUDA devices and their driver's word, a file system
that hosts share, a slot on which everything dies; and patience, to be short. What is faked reads files of the folder it
is started in, so that it begins when a test wants it to.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from sweeper import cli
from sweeper.executors import local, machine
from sweeper.executors.executor import Slot
from sweeper.executors.gpus import devices
from sweeper.executors.gpus.lost import LostDevices
from sweeper.executors.slots.division import Division, slots_of
from sweeper.orchestrator import loop
from sweeper.orchestrator.plan import Timeouts
from sweeper.record.storage import filesystem
from sweeper.record.storage.layout import AttemptDir

UNKILLABLE, LOST_DEVICE = Path("unkillable"), Path("lost-device")
DEVICES = ["GPU-fake-a", "GPU-fake-b"]
XID = 79
SPEED = 50.0
"""How much faster time goes for a process that looks at devices now and then."""


def _put(owner: object, name: str, fake: object) -> None:
    """For as long as this process lives."""
    mock.patch.object(owner, name, fake).start()


def patience(**seconds: float) -> None:
    """Wait so long, and no longer."""
    _put(loop, "Timeouts", functools.partial(Timeouts, **seconds))


def unkillable() -> None:
    """The attempts of the trial that a file names get no kill."""
    kill = local.LocalExecutor.kill

    def unless(executor: local.LocalExecutor, attempt: AttemptDir) -> None:
        if not UNKILLABLE.exists() or UNKILLABLE.read_text() not in attempt.path.parts:
            kill(executor, attempt)

    _put(local.LocalExecutor, "kill", unless)


class FakeNvml:
    """NVIDIA's management library with two devices; the driver reports an Xid of the one that a file names, once."""

    NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED = 15, 16
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - the library's own name

    class NVMLError(Exception):
        value = 0

    def __init__(self) -> None:
        self._told = False

    def nvmlDeviceGetHandleByUUID(self, device: str) -> str:  # noqa: N802 - the library's own name
        return device

    def nvmlDeviceIsMigDeviceHandle(self, _handle: str) -> int:  # noqa: N802 - the library's own name
        return 0

    def nvmlEventSetCreate(self) -> list[str]:  # noqa: N802 - the library's own name
        return []

    def nvmlDeviceRegisterEvents(self, handle: str, _kind: int, events: list[str]) -> None:  # noqa: N802 - the same
        events.append(handle)

    def nvmlEventSetWait_v2(self, events: list[str], _timeout: int) -> SimpleNamespace:  # noqa: N802 - the same
        if self._told or not LOST_DEVICE.exists() or LOST_DEVICE.read_text() not in events:
            raise self.NVMLError
        self._told = True
        return SimpleNamespace(eventData=XID)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> None:  # noqa: N802 - the same
        pass


def gpus() -> None:
    """Two CUDA devices."""
    _put(devices, "cuda_devices", lambda _: list(DEVICES))
    fast = functools.partial(LostDevices, nvml=FakeNvml(), clock=lambda: SPEED * time.monotonic())
    _put(local, "lost_devices", fast)


def shared() -> None:
    """Everything lies on NFS."""
    _put(filesystem, "mountinfo", lambda: "1 1 0:1 / / rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2")


def named_slots() -> None:
    """Workers know the slot that they are on."""

    def named(division: Division) -> list[Slot]:
        slots = slots_of(division)
        return [replace(slot, environment={**slot.environment, "FAULTS_SLOT": slot.name}) for slot in slots]

    _put(machine, "slots_of", named)


FAKES: Mapping[str, Callable[[], None]] = {
    "unkillable": unkillable,
    "gpus": gpus,
    "shared": shared,
    "named-slots": named_slots,
}


def main(arguments: list[str]) -> int:
    """Fake what the first arguments say, and be `sweeper` with the others."""
    seconds: dict[str, float] = {}
    while arguments and (arguments[0] in FAKES or "=" in arguments[0]):
        name, _, value = arguments.pop(0).partition("=")
        if value:
            seconds[name] = float(value)
        else:
            FAKES[name]()
    if seconds:
        patience(**seconds)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
