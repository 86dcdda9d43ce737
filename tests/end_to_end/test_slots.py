"""Slots as `sweeper run` shares them, in real processes: between sweeps, with strangers, and among trials on one GPU.

The management library is faked where a GPU is needed (`tests.fakes.pynvml`): processes put themselves on a device.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import sweeper
from sweeper.record.events import Launched
from sweeper.record.reader import read_trial
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord
from sweeper.results.status import read_sweep, to_json
from sweeper.worker.process.shim import descendants
from tests.fakes.pynvml import Fake, gpu

ROOT = Path(sweeper.__file__).parents[1]
PATIENCE_S = 100.0
"""Time limit for every expected event; nothing here measures speed."""

CORES = sorted(os.sched_getaffinity(0))[:2]
"""The cores that all sweeps of a test share."""

TRAIN = """
import os, sys, time
from pathlib import Path
here = Path(os.environ["HERE"])
device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
arguments = dict(word.lstrip("-").split("=") for word in sys.argv[1:])
number = int(Path(os.environ["SWEEPER_TRIAL_DIR"]).name)
attempt = int(os.environ["SWEEPER_ATTEMPT"])
run = Path(os.environ["SWEEPER_TRIAL_DIR"]).parents[1].name

def say(what):
    with open(here / "trace", "a") as trace:
        trace.write(f"{what} {run} {number} {device or 'cpu'}\\n")

def occupy(memory):
    place = Path(os.environ["FAKE_NVML"]) / "on" / device
    place.mkdir(parents=True, exist_ok=True)
    (place / str(os.getpid())).write_text(str(memory))
    return place / str(os.getpid())

say("begin")
"""

BRIEF = (
    TRAIN
    + """
time.sleep(0.3)
say("end")
"""
)

UNTIL_TOLD = (
    TRAIN
    + """
while not any((here / name).exists() for name in (f"go-{run}", f"go-{run}-{number}")):
    time.sleep(0.02)
say("end")
"""
)


class Site:
    """A folder with sweeps that share a ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fake = Fake(folder / "nvml", gpu("GPU-a"))
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, name: str, script: str, trials: int, **keys: object) -> None:
        (self.folder / f"{name}.py").write_text(script)
        file: dict[str, Any] = {
            "name": name,
            "method": "grid",
            "metric": {"name": "m"},
            "command": [sys.executable, str(self.folder / f"{name}.py")],
            "parameters": {"x": {"values": list(range(trials))}},
            "resources": {"cpus": 1},
            "retry": {"backoff_s": 0},
        }
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({**file, **keys}))

    def start(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start `sweeper run` on the test's cores, with its output in a file."""
        with self.output(name).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "sweeper.cli", "run", f"{name}.yaml", *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self.environment, **environment},
            )
        self.processes.append(process)
        return process

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "HERE": str(self.folder),
            "SWEEPER_SLOTS": str(self.folder / "slots"),
            "FAKE_NVML": str(self.fake.root),
            "COLUMNS": "300",
        }

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.txt"

    def said(self, name: str) -> str:
        return self.output(name).read_text()

    def run(self, name: str) -> SweepDir:
        return SweepDir(self.folder / "runs" / name)

    def trials(self, name: str) -> list[TrialRecord]:
        return [read_trial(trial) for trial in self.run(name).trials()]

    def trace(self) -> list[list[str]]:
        """Return what the workers wrote: begin or end, run, number, device."""
        path = self.folder / "trace"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def begun(self, name: str) -> int:
        return sum(what == "begin" and run == name for what, run, *_ in self.trace())

    def queued_requests(self) -> list[str]:
        """Return the sweeps with a queued request in the ledger."""
        return [
            request["run"] for request in json.loads((self.folder / "slots" / "ledger.json").read_bytes())["wishes"]
        ]

    def at_once(self) -> list[int]:
        """Return the number of running trials after each begin or end."""
        counts, running = [], 0
        for what, *_ in self.trace():
            running += 1 if what == "begin" else -1
            counts.append(running)
        return counts


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made, before = Site(tmp_path), os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield made
    os.sched_setaffinity(0, before)
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            for pid in [process.pid, *descendants(process.pid)]:
                os.kill(pid, signal.SIGKILL)
        process.wait()


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_two_sweeps_share_the_cores_of_a_machine(site: Site) -> None:
    for name in ("one", "two"):
        site.write(name, BRIEF, trials=6)
    processes = [site.start(name) for name in ("one", "two")]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0], site.said("one") + site.said("two")
    counts = site.at_once()
    assert (max(counts), counts[-1]) == (len(CORES), 0)
    assert [trial.state for name in ("one", "two") for trial in site.trials(name)] == [State.COMPLETE] * 12


def test_slots_of_a_killed_orchestrator_stay_taken_until_its_workers_end(site: Site) -> None:
    site.write("one", UNTIL_TOLD, trials=len(CORES) + 1)
    site.write("two", BRIEF, trials=1)
    first = site.start("one")
    until(lambda: site.begun("one") == len(CORES))
    first.kill()
    first.wait()
    second = site.start("two")
    until(lambda: "trials wait for slots that are in use by other sweeps on this machine" in site.said("two"))
    one = str(site.run("one").path)
    assert one in site.said("two")
    assert site.begun("two") == 0
    until(lambda: to_json(read_sweep(site.run("two")))["waiting"])
    status: Any = to_json(read_sweep(site.run("two")))
    assert (status["waiting"]["sweeps"], status["waiting"]["reasons"]) == ([one], [f"the sweep {one} uses the slots"])
    (site.folder / "go-one").touch()
    assert second.wait(PATIENCE_S) == 0
    assert (site.begun("one"), site.begun("two")) == (len(CORES), 1)
    assert site.start("one").wait(PATIENCE_S) == 0
    assert [trial.newest.number for trial in site.trials("one")] == [1] * (len(CORES) + 1)
    assert max(site.at_once()) == len(CORES)


@pytest.mark.skipif(len(CORES) < 2, reason="there is one core")
def test_a_takeover_counts_the_slots_of_running_workers(site: Site) -> None:
    site.write("one", UNTIL_TOLD, trials=4, resources={})
    first = site.start("one")
    until(lambda: site.begun("one") == 2)
    first.kill()
    first.wait()
    second = site.start("one", "--workers", "1")  # one trial now takes both cores
    (site.folder / "go-one-0").touch()
    until(lambda: site.queued_requests() == [str(site.run("one").path)])
    assert site.begun("one") == 2
    (site.folder / "go-one").touch()
    assert second.wait(PATIENCE_S) == 0
    assert site.at_once() == [1, 2, 1, 0, 1, 0, 1, 0]
    assert [trial.newest.number for trial in site.trials("one")] == [1] * 4


def test_a_sweep_waits_for_an_exec_command_that_uses_the_machine(site: Site) -> None:
    site.write("one", BRIEF, trials=1)
    alone = [
        sys.executable,
        "-c",
        f"import time, pathlib\nwhile not pathlib.Path({str(site.folder / 'go')!r}).exists(): time.sleep(0.02)",
    ]
    watched = subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "exec", "--name", "alone", "--", *alone],
        cwd=site.folder,
        env=site.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    site.processes.append(watched)
    until(lambda: site.run("alone").trials() and site.trials("alone")[0].state is State.RUNNING)
    process = site.start("one")
    until(lambda: "trials wait for slots" in site.said("one"))
    assert site.begun("one") == 0
    (site.folder / "go").touch()
    assert (watched.wait(PATIENCE_S), process.wait(PATIENCE_S)) == (0, 0)


def test_a_sweep_with_share_does_not_wait(site: Site) -> None:
    site.write("one", UNTIL_TOLD, trials=len(CORES))
    site.write("two", BRIEF, trials=1)
    first = site.start("one")
    until(lambda: site.begun("one") == len(CORES))
    assert site.start("two", "--share").wait(PATIENCE_S) == 0
    (site.folder / "go-one").touch()
    assert first.wait(PATIENCE_S) == 0


# ---- devices ------------------------------------------------------------------------------------------------------

ON_DEVICE = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "fakes"), str(ROOT)])}


def test_a_sweep_waits_for_a_device_that_another_process_uses(site: Site) -> None:
    site.write("one", BRIEF, trials=2, resources={})
    stranger = subprocess.Popen([shutil.which("sleep") or "sleep", "1000"])
    site.processes.append(stranger)
    site.fake.occupy("GPU-a", stranger.pid, 12_300_000_000)
    process = site.start("one", **ON_DEVICE)
    user = f"pid {stranger.pid} (you: sleep), 12.3 GB"
    until(lambda: f"gpu 0 is in use by other processes, so trials wait until they are gone: {user}" in site.said("one"))
    assert [trial.state for trial in site.trials("one")] == [State.WAITING] * 2
    stranger.kill()
    stranger.wait()
    assert process.wait(PATIENCE_S) == 0, site.said("one")
    assert f"gpu 0 is free again: {user} is gone" in site.said("one")
    assert [(what, device) for what, _, _, device in site.trace()] == [("begin", "GPU-a"), ("end", "GPU-a")] * 2


LEFT = (
    TRAIN
    + """
import subprocess
place = occupy(10**9)
if number == 0:  # what the driver still lists when the process is gone
    place.rename(place.with_name(os.environ["LINGERS"]))
time.sleep(0.3)
say("end")
"""
)


def test_a_device_is_reused_only_when_it_reports_that_it_is_free(site: Site) -> None:
    site.write("one", LEFT, trials=2, resources={})
    lingering = subprocess.Popen(["sleep", "1000"])
    site.processes.append(lingering)
    process = site.start("one", LINGERS=str(lingering.pid), **ON_DEVICE)
    until(
        lambda: (
            f"gpu 0 is in use by other processes, so trials wait until they are gone: pid {lingering.pid}"
            in site.said("one")
        )
    )
    assert site.begun("one") == 1
    lingering.kill()
    lingering.wait()
    assert process.wait(PATIENCE_S) == 0
    assert site.begun("one") == 2


PARTS = (
    TRAIN
    + """
occupy(10**9)
while (here / "trace").read_text().count("begin") < 2:  # the first one sees a second one beside it
    time.sleep(0.02)
time.sleep(0.3)
say("end")
"""
)


def test_two_sweeps_share_a_device_with_no_more_trials_than_fit(site: Site) -> None:
    for name, part in (("one", 0.25), ("two", 0.5)):
        site.write(name, PARTS, trials=4, resources={"gpus": part})
    processes = [site.start(name, **ON_DEVICE) for name in ("one", "two")]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0], site.said("one") + site.said("two")
    taken, most = 0.0, 0.0
    for what, run, *_ in site.trace():
        taken += {"one": 0.25, "two": 0.5}[run] * (1 if what == "begin" else -1)
        most = max(most, taken)
    assert (most <= 1, taken) == (True, 0)
    assert max(site.at_once()) > 1
    assert "in use by other processes" not in site.said("one") + site.said("two")
    launched = [
        event
        for trial in site.run("one").trials()
        for event in read_journal(trial.control)
        if isinstance(event, Launched)
    ]
    assert {event.gpus for event in launched} == {0.25}


MEASURED = (
    TRAIN
    + """
import sweeper
place = occupy(15 * 10**9)
time.sleep(2)
say("end")
"""
)


def test_trials_are_packed_by_the_measured_memory_of_the_first(site: Site) -> None:
    site.write("one", MEASURED, trials=9, resources={"gpu_memory_gb": "measured"})
    process = site.start("one", **ON_DEVICE)
    assert process.wait(PATIENCE_S) == 0, site.said("one")
    counts = site.at_once()
    assert counts[:2] == [1, 0]
    assert max(counts) == 4  # of 80 GB, each with a tenth more than 15
    assert (
        "a trial was measured to use 15.00 GB of device memory, so trials are packed by that plus a margin of 10%"
        in site.said("one")
    )
    first = site.trials("one")[0]
    assert first.attempts[0].measured is not None
    assert first.attempts[0].measured.device_peak_mb == 14305.1
    assert first.attempts[0].gpus == 1
    (site.folder / "trace").unlink()
    site.write("one", MEASURED, trials=13, resources={"gpu_memory_gb": "measured"})
    assert site.start("one", **ON_DEVICE).wait(PATIENCE_S) == 0
    assert max(site.at_once()[:4]) == 4  # it is on the record


CROWDED = (
    TRAIN
    + """
import types
import sweeper
torch = types.ModuleType("torch")
torch.OutOfMemoryError = type("OutOfMemoryError", (Exception,), {})
sys.modules["torch"] = torch
occupy(10**9)
with sweeper.trial() as trial:
    time.sleep(0.3)
    if number in (0, 1) and (attempt == 1 or number == 1):
        say("end")
        raise torch.OutOfMemoryError("CUDA out of memory")
    time.sleep(0.3)
say("end")
"""
)


def test_a_trial_without_memory_on_a_shared_device_is_retried_with_a_whole_device(site: Site) -> None:
    site.write("one", CROWDED, trials=8, resources={"gpus": 0.25})
    assert site.start("one", **ON_DEVICE).wait(PATIENCE_S) == 1
    trials = site.trials("one")
    assert [trial.state for trial in trials] == [State.COMPLETE, State.FAIL, *[State.COMPLETE] * 6]
    assert [trial.newest.number for trial in trials] == [2, 2, *[1] * 6]
    assert [attempt.gpus for attempt in trials[0].attempts] == [0.25, 1]
    assert "0000 ended: cuda-oom" in site.said("one")
    assert "it will be restarted, alone on its devices" in site.said("one")
    trace = [(what, number) for what, _, number, _ in site.trace()]
    for number in ("0", "1"):
        again = [i for i, line in enumerate(trace) if line == ("begin", number)][1]
        assert (site.at_once()[again], trace[again + 1]) == (1, ("end", number))


def test_a_sweep_that_needs_more_than_the_machine_has_is_rejected(site: Site) -> None:
    for resources, expected in (
        ({"gpus": 2}, "resources.gpus: expected at most the number of whole GPUs here, 1, got 2"),
        (
            {"gpu_memory_gb": 81},
            "resources.gpu_memory_gb: expected at most the memory of the largest GPU here, 80.0 GB, got 81",
        ),
    ):
        site.write("one", BRIEF, trials=1, resources=resources)
        assert site.start("one", **ON_DEVICE).wait(PATIENCE_S) == 2
        assert expected in site.said("one")
        assert "Traceback" not in site.said("one")
