"""Lost devices. The management library is faked, with the names and errors of the real one: no GPU is here."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sweeper.executors.executor import Slot
from sweeper.executors.health import LOOK_EVERY_S, NvmlHealth, health_of
from sweeper.executors.local import LocalExecutor

TIMEOUT, IS_LOST, RESET_REQUIRED, NOT_SUPPORTED, NOT_FOUND = 10, 15, 16, 3, 6


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__({IS_LOST: "GPU is lost", RESET_REQUIRED: "GPU requires restart"}.get(value, "other"))


@dataclass
class FakeEvent:
    eventData: int  # noqa: N815 - the library's name


@dataclass
class FakeNvml:
    """`xids` are the events that wait, `answers` the error that a device's handle answers with, by UUID."""

    xids: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    without_events: bool = False
    sets: list[list[str]] = field(default_factory=list)

    NVMLError = FakeError
    NVML_ERROR_GPU_IS_LOST = IS_LOST
    NVML_ERROR_RESET_REQUIRED = RESET_REQUIRED
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - the library's name

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802 - the library's names, here and below
        if not uuid.startswith("GPU-"):
            raise FakeError(NOT_FOUND)
        return uuid

    def nvmlEventSetCreate(self) -> list[str]:  # noqa: N802
        return []

    def nvmlDeviceRegisterEvents(self, handle: str, kinds: int, events: list[str]) -> None:  # noqa: N802
        if self.without_events:
            raise FakeError(NOT_SUPPORTED)
        events.append(handle)

    def nvmlEventSetWait_v2(self, events: list[str], timeout_ms: int) -> FakeEvent:  # noqa: N802
        waiting = self.xids.get(events[0], [])
        if not waiting:
            raise FakeError(TIMEOUT)
        return FakeEvent(waiting.pop(0))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> object:  # noqa: N802
        if handle in self.answers:
            raise FakeError(self.answers[handle])
        return object()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("nvml", "faults"),
    [
        (FakeNvml(), {}),
        (FakeNvml(xids={"GPU-b": [79]}), {"GPU-b": "Xid 79: fallen off the bus"}),
        (FakeNvml(xids={"GPU-a": [13, 31, 48]}), {"GPU-a": "Xid 48: double-bit memory error"}),
        (FakeNvml(xids={"GPU-a": [13, 31, 43]}), {}),  # a program's own errors
        (FakeNvml(answers={"GPU-a": IS_LOST}), {"GPU-a": "GPU is lost"}),
        (FakeNvml(answers={"GPU-b": RESET_REQUIRED}, without_events=True), {"GPU-b": "GPU requires restart"}),
        (FakeNvml(answers={"GPU-a": NOT_SUPPORTED}), {}),
    ],
)
def test_which_devices_are_lost(nvml: FakeNvml, faults: dict[str, str]) -> None:
    clock = Clock()
    health = NvmlHealth(["GPU-a", "GPU-b", "0"], nvml, clock=clock)
    assert health.faults() == {}
    clock.now += LOOK_EVERY_S
    assert health.faults() == faults


def test_a_lost_device_stays_lost() -> None:
    clock, nvml = Clock(), FakeNvml(xids={"GPU-a": [79]})
    health = NvmlHealth(["GPU-a"], nvml, clock=clock)
    for _ in range(3):
        clock.now += LOOK_EVERY_S
        assert health.faults() == {"GPU-a": "Xid 79: fallen off the bus"}


def test_without_the_library_or_devices_nothing_is_known() -> None:
    assert health_of([]).faults() == {}
    assert health_of(["GPU-of-nobody"]).faults() == {}


def test_a_slot_has_the_faults_of_its_devices() -> None:
    clock = Clock()
    health = NvmlHealth(["GPU-a", "GPU-b", "GPU-c"], FakeNvml(answers={"GPU-b": IS_LOST}), clock=clock)
    slots = [
        Slot(name="gpu 0+1", environment={"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}),
        Slot(name="gpu 2", environment={"CUDA_VISIBLE_DEVICES": "GPU-c"}),
        Slot(name="cpu 0", environment={}),
    ]
    executor = LocalExecutor(slots, health)
    clock.now += LOOK_EVERY_S
    assert executor.faults() == {"gpu 0+1": "the device GPU-b is lost (GPU is lost)"}
