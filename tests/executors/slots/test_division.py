"""Division of a machine into slots."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.executors.slots.division import MARGIN, Division, slots_of, whole_machine

TWO = {"a": 80, "b": 40}
GPUS = [f"gpu {i}" for i in range(2)]
SLICES = ["MIG-a", "MIG-b", "GPU-c", "GPU-d"]


@pytest.mark.parametrize(
    ("given", "names", "environment"),
    [
        ({"devices": [], "cores": 2}, ["cpu 0", "cpu 1"], {"OMP_NUM_THREADS": "1"}),
        ({"devices": [], "cores": 8, "workers": 2}, ["cpu 0", "cpu 1"], {"OMP_NUM_THREADS": "4"}),
        ({"devices": [], "cores": 8, "cpus": 4}, ["cpu 0", "cpu 1"], {"OMP_NUM_THREADS": "4"}),
        ({"devices": [], "cores": 8, "workers": 1, "cpus": 1}, ["cpu 0"], {"OMP_NUM_THREADS": "1"}),
        ({"devices": [], "cores": 1, "cpus": 4}, ["cpu 0"], {"OMP_NUM_THREADS": "1"}),
        ({"devices": ["GPU-a", "GPU-b"], "cores": 8}, GPUS, {"CUDA_VISIBLE_DEVICES": "GPU-a", "OMP_NUM_THREADS": "4"}),
        ({"devices": ["GPU-a", "GPU-b"], "cores": 8, "workers": 1}, ["gpu 0"], {"OMP_NUM_THREADS": "8"}),
        ({"devices": ["GPU-a", "GPU-b"], "cores": 8, "cpus": 8}, ["gpu 0"], {"OMP_NUM_THREADS": "8"}),
        ({"devices": ["GPU-a", "GPU-b"], "cores": 2, "cpus": 4, "workers": 2}, GPUS, {"OMP_NUM_THREADS": "4"}),
        ({"devices": ["a", "b", "c"], "cores": 8, "gpus": 2}, ["gpu 0+1"], {"CUDA_VISIBLE_DEVICES": "a,b"}),
        ({"devices": SLICES, "cores": 8, "gpus": 2}, ["gpu 2+3"], {"CUDA_VISIBLE_DEVICES": "GPU-c,GPU-d"}),
        ({"devices": SLICES[:1], "cores": 8}, ["gpu 0"], {"CUDA_VISIBLE_DEVICES": "MIG-a"}),
        ({"devices": ["a"], "cores": 8, "gpus": 2}, [], {}),
        ({"devices": ["a"], "cores": 2, "gpus": 0}, ["cpu 0", "cpu 1"], {"CUDA_VISIBLE_DEVICES": ""}),
        (
            {"devices": ["a", "b"], "cores": 8, "gpus": 0.5},
            ["gpu 0 #1", "gpu 1 #1", "gpu 0 #2", "gpu 1 #2"],
            {"CUDA_VISIBLE_DEVICES": "a", "OMP_NUM_THREADS": "2"},
        ),
        ({"devices": ["a", "b"], "cores": 8, "gpus": 0.5, "workers": 2}, ["gpu 0 #1", "gpu 1 #1"], {}),
        ({"devices": ["a"], "cores": 8, "gpus": 0.3333}, ["gpu 0 #1", "gpu 0 #2", "gpu 0 #3"], {}),
        ({"devices": ["a"], "cores": 8, "gpus": 0.6}, ["gpu 0"], {}),
        ({"devices": ["a", "b"], "cores": 8, "memory": 40, "totals": TWO}, ["gpu 0 #1", "gpu 1", "gpu 0 #2"], {}),
        ({"devices": ["a", "b"], "cores": 8, "memory": 50, "totals": TWO}, ["gpu 0"], {}),
        ({"devices": ["a", "b"], "cores": 8, "gpus": 1, "memory": 50, "totals": TWO}, ["gpu 0"], {}),
        ({"devices": ["a", "b"], "cores": 8, "gpus": 2, "memory": 50, "totals": TWO}, [], {}),
        ({"devices": ["a"], "cores": 8, "gpus": 0.5, "memory": 20, "totals": TWO}, ["gpu 0 #1", "gpu 0 #2"], {}),
        ({"devices": ["a"], "cores": 8, "memory": 20}, ["gpu 0"], {}),  # the memory of the device is not known
        ({"devices": ["a", "b"], "cores": 8, "measured": True, "totals": TWO}, GPUS, {}),  # not measured yet
        ({"devices": ["a"], "cores": 8, "gpus": 0.5, "measured": True, "totals": TWO}, ["gpu 0"], {}),
    ],
)
def test_slots_follow_the_machine(given: dict[str, Any], names: list[str], environment: dict[str, str]) -> None:
    slots = slots_of(Division(**given))
    assert [slot.name for slot in slots] == names
    assert not slots or environment.items() <= slots[0].environment.items()
    for device in given["devices"]:
        assert sum(slot.needs.get(device, 0) for slot in slots) <= 1 + 1e-9
    assert sum(slot.needs.get("cores", 0) for slot in slots) <= given["cores"] + 1e-9


def test_a_measured_peak_is_packed_with_a_margin() -> None:
    division = Division(devices=["a", "b"], cores=8, measured=True, totals={"a": 80, "b": 40})
    (share,) = {slot.needs["a"] for slot in slots_of(division.with_memory(18)) if "a" in slot.needs}
    assert share == pytest.approx(18 * (1 + MARGIN) / 80)
    assert [slot.name for slot in slots_of(division.with_memory(18))] == [
        *("gpu 0 #1", "gpu 1 #1", "gpu 0 #2", "gpu 1 #2", "gpu 0 #3", "gpu 0 #4")
    ]
    # What ran on a device fits it, margin or not; on a smaller one it does not.
    assert [slot.name for slot in slots_of(division.with_memory(79))] == ["gpu 0"]


def test_a_part_of_a_device_becomes_all_of_it_for_a_trial_that_runs_alone() -> None:
    slot = slots_of(Division(devices=["a"], cores=8, gpus=0.25, cpus=1))[0]
    assert (slot.gpus, slot.exclusive.gpus, slot.exclusive.needs) == (0.25, 1, {"a": 1, "cores": 1})
    assert slot.exclusive.environment == slot.environment


def test_the_whole_machine_is_its_devices_or_else_its_cores() -> None:
    assert whole_machine(["a", "b"], 8).needs == {"a": 1, "b": 1}
    assert whole_machine([], 8).needs == {"cores": 8}
    assert not whole_machine([], 8).waits
    assert not whole_machine([], 8).environment
