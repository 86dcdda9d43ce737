"""Lost devices. The management library is faked, with the names and errors of the real one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sweeper.executors.executor import Slot
from sweeper.executors.gpus.lost import CHECK_EVERY_S, LostDevices, lost_devices
from sweeper.executors.local import LocalExecutor
from tests.fakes import pynvml as library
from tests.fakes.pynvml import Fake, gpu

IS_LOST, RESET_REQUIRED = library.NVML_ERROR_GPU_IS_LOST, library.NVML_ERROR_RESET_REQUIRED


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "nvml"))
    return Fake(tmp_path / "nvml", gpu("GPU-a"), gpu("GPU-b"), gpu("GPU-c", slices=2))


@pytest.mark.parametrize(
    ("xids", "lost", "faults"),
    [
        ({}, {}, {}),
        ({"GPU-b": "79"}, {}, {"GPU-b": "Xid 79: fallen off the bus"}),
        ({"GPU-a": "13 31 48"}, {}, {"GPU-a": "Xid 48: double-bit memory error"}),
        ({"GPU-a": "13 31 43"}, {}, {}),  # a program's own errors
        ({}, {"GPU-a": IS_LOST}, {"GPU-a": "GPU is lost"}),
        ({}, {"GPU-b": RESET_REQUIRED}, {"GPU-b": "GPU requires restart"}),
        ({}, {"GPU-a": library.NVML_ERROR_NOT_SUPPORTED}, {}),
        ({"GPU-c": "79"}, {}, {"MIG-GPU-c-1": "Xid 79: fallen off the bus"}),  # a slice is lost with its GPU
    ],
)
def test_which_devices_are_lost(
    xids: Mapping[str, str], lost: Mapping[str, int], faults: dict[str, str], fake: Fake
) -> None:
    clock = Clock()
    detector = LostDevices(["GPU-a", "GPU-b", "MIG-GPU-c-1", "0"], library, clock=clock)
    for what, told in (("xids", xids), ("lost", lost)):
        for uuid, number in told.items():
            fake.say(what, uuid, number)
    assert detector.faults() == {}
    clock.now += CHECK_EVERY_S
    assert detector.faults() == faults


def test_a_lost_device_stays_lost(fake: Fake) -> None:
    clock = Clock()
    fake.say("xids", "GPU-a", 79)
    detector = LostDevices(["GPU-a"], library, clock=clock)
    for _ in range(3):
        clock.now += CHECK_EVERY_S
        assert detector.faults() == {"GPU-a": "Xid 79: fallen off the bus"}


def test_without_the_library_or_devices_none_is_lost() -> None:
    assert lost_devices([]).faults() == {}
    assert lost_devices(["GPU-unknown"]).faults() == {}


def test_a_slot_has_the_faults_of_its_devices(fake: Fake) -> None:
    clock = Clock()
    fake.say("lost", "GPU-b", IS_LOST)
    detector = LostDevices(["GPU-a", "GPU-b", "GPU-c"], library, clock=clock)
    slots = [
        Slot(name="gpu 0+1", needs={"GPU-a": 1.0, "GPU-b": 1.0}),
        Slot(name="gpu 2", needs={"GPU-c": 0.5}),
        Slot(name="cpu 0", needs={"cores": 1.0}),
    ]
    executor = LocalExecutor(slots, detector)
    clock.now += CHECK_EVERY_S
    assert executor.faults() == {"gpu 0+1": "the device GPU-b is lost (GPU is lost)"}
