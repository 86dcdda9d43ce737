"""Devices: an inherited CUDA_VISIBLE_DEVICES is respected. The management library is faked: no GPU is here."""

from __future__ import annotations

import pytest

from sweeper.executors import devices


@pytest.mark.parametrize(
    ("environment", "present", "visible"),
    [
        ({}, [], []),
        ({}, ["GPU-a", "GPU-b"], ["GPU-a", "GPU-b"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["GPU-a", "GPU-b"], ["1"]),
        ({"CUDA_VISIBLE_DEVICES": " GPU-b , GPU-a"}, ["GPU-a", "GPU-b"], ["GPU-b", "GPU-a"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, ["GPU-a"], []),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ["GPU-a", "GPU-b"], ["0"]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [], []),
    ],
)
def test_visible_devices(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], present: list[str], visible: list[str]
) -> None:
    monkeypatch.setattr(devices, "_present", lambda: present)
    assert devices.cuda_devices(environment) == visible


def test_without_a_driver_there_are_no_devices() -> None:
    assert isinstance(devices.cuda_devices({}), list)


def test_there_is_at_least_one_core() -> None:
    assert devices.cores() >= 1
