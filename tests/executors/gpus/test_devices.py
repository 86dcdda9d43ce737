"""CUDA devices and their identifiers. The management library is faked, because tests run without a GPU."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

import sweeper.executors.gpus.lost
import sweeper.executors.gpus.nvml
from sweeper.executors.gpus.devices import cuda_devices
from sweeper.executors.gpus.nvml import Nvml
from tests.fakes import pynvml as library
from tests.fakes.pynvml import Fake, gpu

SAME = [gpu("GPU-aaa"), gpu("GPU-abb")]
OTHER = [gpu("GPU-aaa"), gpu("GPU-abb", name="Fake 40GB")]
SLICED = [gpu("GPU-aaa"), gpu("GPU-abb", slices=2), gpu("GPU-bbb", slices=0)]


@pytest.mark.parametrize(
    ("present", "environment", "devices"),
    [
        (SAME, {}, ["GPU-aaa", "GPU-abb"]),
        (SAME, {"CUDA_VISIBLE_DEVICES": ""}, []),
        (SAME, {"CUDA_VISIBLE_DEVICES": "1"}, ["GPU-abb"]),
        (SAME, {"CUDA_VISIBLE_DEVICES": "1,-1,0"}, ["GPU-abb"]),
        (SAME, {"CUDA_VISIBLE_DEVICES": "7"}, ["7"]),
        (SAME, {"CUDA_VISIBLE_DEVICES": "GPU-ab"}, ["GPU-abb"]),
        (SAME, {"CUDA_VISIBLE_DEVICES": "GPU-a"}, ["GPU-a"]),
        (OTHER, {"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),  # CUDA may count them in another order
        (OTHER, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ["GPU-abb"]),
        (SLICED, {}, ["GPU-aaa", "MIG-GPU-abb-0", "MIG-GPU-abb-1"]),
        (SLICED, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-abb-1"}, ["MIG-GPU-abb-1"]),
        ([], {"CUDA_VISIBLE_DEVICES": "0"}, []),
    ],
)
def test_devices_are_known_by_their_uuid(
    present: list[dict[str, Any]],
    environment: dict[str, str],
    devices: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_NVML", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    Fake(tmp_path, *present)
    assert cuda_devices(environment) == devices


def test_processes_on_a_device_and_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVML", str(tmp_path))
    fake = Fake(tmp_path, gpu("GPU-a", slices=2))
    fake.occupy("MIG-GPU-a-0", 1, 5 * 10**9)
    fake.occupy("MIG-GPU-a-0", 2**22 + 7, "none")
    fake.say("unseen", "MIG-GPU-a-0", 10**9)
    nvml = Nvml(library)
    there = nvml.processes("MIG-GPU-a-0")
    assert there is not None
    assert {process.pid: process.memory for process in there} == {1: 5 * 10**9, 2**22 + 7: None}
    memory = nvml.memory("MIG-GPU-a-0")
    assert memory is not None
    assert (memory.total, memory.used) == (40 * 10**9, 6 * 10**9)
    assert nvml.processes("MIG-GPU-a-1") == []
    assert (nvml.processes("0"), nvml.memory("0")) == (None, None)


@pytest.mark.parametrize("module", [sweeper.executors.gpus.nvml, sweeper.executors.gpus.lost])
def test_every_name_in_use_exists_in_the_real_library(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {name for name in used if name.startswith(("nvml", "NVML"))}
    assert len(names) > 5
    assert [name for name in names if not hasattr(pynvml, name)] == []
    assert [name for name in names if not hasattr(library, name)] == []
