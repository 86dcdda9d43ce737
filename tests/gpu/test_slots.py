"""Slots on a real GPU: how the management library names it, which processes it reports, and trials that share it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

import sweeper
from sweeper.executors.gpus.devices import cuda_devices
from sweeper.executors.gpus.nvml import Nvml, nvml
from sweeper.executors.gpus.occupancy import other_processes, pids_are_ours, usage_of
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

PATIENCE_S = 100.0
TAKEN = 2 * 10**9
"""Bytes that a process of a test has of the device."""

OCCUPY = f"""
import sys, time, torch
kept = torch.empty({TAKEN}, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("there", flush=True)
"""


@pytest.fixture
def library() -> Nvml:
    found = nvml()
    if found is None:
        pytest.skip("the management library cannot be asked here")
    return found


@pytest.fixture
def device(library: Nvml) -> str:
    """A device that is free, by its UUID."""
    found = cuda_devices(os.environ)[0]
    if other_processes(usage_of(found, library), ()):
        pytest.skip("another process is on the device")
    return found


@pytest.fixture
def stranger(device: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{OCCUPY}\ntime.sleep(1000)"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": device},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_cuda_takes_the_uuids_that_the_library_tells(device: str) -> None:
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device}
    assert subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout == "1\n"


def test_memory_of_a_device_is_that_which_torch_tells(library: Nvml, device: str) -> None:
    memory = library.memory(device)
    assert memory is not None
    _, total = torch.cuda.mem_get_info(0)
    assert memory.total == pytest.approx(total, rel=0.05)


def test_somebody_on_a_device_is_seen_and_gone_when_they_are(
    library: Nvml, device: str, stranger: subprocess.Popen[bytes]
) -> None:
    there = other_processes(usage_of(device, library), ())
    assert there
    memory = sum(one.memory or 0 for one in there)
    assert memory == 0 or memory > TAKEN
    if pids_are_ours():
        assert [one.pid for one in there] == [stranger.pid]
    stranger.kill()
    stranger.wait()
    until(lambda: not other_processes(usage_of(device, library), ()))


def sweep(folder: Path, device: str, script: str, trials: int, resources: dict[str, object]) -> subprocess.Popen[bytes]:
    """`sweeper run` that sees one device."""
    (folder / "train.py").write_text(script)
    file = {
        "name": "shared",
        "method": "grid",
        "metric": {"name": "m"},
        "command": [sys.executable, str(folder / "train.py")],
        "parameters": {"x": {"values": list(range(trials))}},
        "resources": resources,
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(file))
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "run", "sweep.yaml"],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": device, "PYTHONPATH": str(Path(sweeper.__file__).parents[1])},
        stdout=(folder / "output.txt").open("wb"),
        stderr=subprocess.STDOUT,
    )


def trials_of(folder: Path) -> list[TrialRecord]:
    return [read_trial(trial) for trial in SweepDir(folder / "runs" / "shared").trials()]


def test_a_sweep_waits_for_a_stranger(tmp_path: Path, device: str, stranger: subprocess.Popen[bytes]) -> None:
    process = sweep(tmp_path, device, OCCUPY, 1, {})
    until(lambda: "is in use by other processes" in (tmp_path / "output.txt").read_text())
    assert [trial.state for trial in trials_of(tmp_path)] == [State.WAITING]
    stranger.kill()
    stranger.wait()
    assert process.wait(PATIENCE_S) == 0, (tmp_path / "output.txt").read_text()


def test_trials_are_packed_by_what_one_was_measured_to_take(tmp_path: Path, device: str) -> None:
    process = sweep(tmp_path, device, f"{OCCUPY}\ntime.sleep(3)", 4, {"gpu_memory_gb": "measured"})
    assert process.wait(PATIENCE_S) == 0, (tmp_path / "output.txt").read_text()
    first, *others = trials_of(tmp_path)
    measured = first.attempts[0].measured
    assert measured is not None
    assert measured.device_peak_mb > TAKEN / 2**20
    assert [trial.attempts[0].gpus or 1 for trial in others] < [1.0] * 3
