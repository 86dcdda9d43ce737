"""Reservation of slots on devices that other processes use, and the notes about them. The library is faked."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeper.executors.executor import Blocker, Slot
from sweeper.executors.gpus import occupancy
from sweeper.executors.gpus.nvml import Nvml
from sweeper.executors.slots.ledger import SlotLedger
from sweeper.executors.slots.reservations import CHECK_EVERY_S, DRAIN_S, FORGET_S, REPORT_AFTER_S, Reservations
from sweeper.record.storage.claim import claim
from sweeper.record.storage.layout import ATTEMPT, TRIAL_DIR, AttemptDir, TrialDir
from sweeper.record.storage.lease import acquire
from tests.fakes import pynvml as library
from tests.fakes.pynvml import Fake, gpu

FOREIGN_PID = 2**22 + 7
"""A pid that no process here can have: one of another namespace."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "nvml"))
    monkeypatch.setattr(occupancy, "pids_are_ours", lambda: True)
    return Fake(tmp_path / "nvml", gpu("GPU-a"), gpu("GPU-b"))


Runs = Callable[..., Reservations]


@pytest.fixture
def runs(tmp_path: Path, fake: Fake, clock: Clock) -> Runs:
    """Make the reservations of a run, by its name."""
    (tmp_path / "slots").mkdir()

    def of(name: str, *, share: bool = False) -> Reservations:
        wanted = ["cores", "GPU-a", "GPU-b"]
        ledger = SlotLedger(tmp_path / "slots", tmp_path / name, cores=2, cpus=[0], wanted=wanted)
        return Reservations(ledger, Nvml(library), clock, share=share)

    return of


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[str, int], AttemptDir]:
    def of(run: str, number: int) -> AttemptDir:
        made = TrialDir(tmp_path / run / "trials" / f"{number:04d}").attempt(1)
        made.path.mkdir(parents=True, exist_ok=True)
        return made

    return of


Attempts = Callable[[str, int], AttemptDir]


class Scene(NamedTuple):
    runs: Runs
    fake: Fake
    attempt: Attempts


@pytest.fixture
def scene(runs: Runs, fake: Fake, attempt: Attempts) -> Scene:
    return Scene(runs, fake, attempt)


@pytest.fixture
def process() -> Iterator[Callable[..., int]]:
    """Start processes that do nothing; return their pids."""
    started = []

    def start(attempt: AttemptDir | None = None) -> int:
        mark = {} if attempt is None else {TRIAL_DIR: str(attempt.path.parent.parent), ATTEMPT: attempt.path.name}
        started.append(subprocess.Popen(["sleep", "100"], env={**os.environ, **mark}))
        pid = started[-1].pid
        while not Path(f"/proc/{pid}/environ").read_bytes():
            time.sleep(0.001)  # a program that has just started shows no variables for a moment
        return pid

    yield start
    for one in started:
        one.kill()
        one.wait()


def slot(device: str = "GPU-a", part: float = 1.0, name: str = "gpu 0") -> Slot:
    return Slot(name=name, needs={device: part})


def test_a_trial_waits_while_another_process_uses_the_device(
    runs: Runs, fake: Fake, clock: Clock, attempt: Attempts, process: Callable[..., int]
) -> None:
    mine, pid = runs("a"), process()
    there = fake.occupy("GPU-a", pid, 12_300_000_000)
    assert not mine.reserve(attempt("a", 0), slot())
    assert mine.reserve(attempt("a", 1), slot("GPU-b", name="gpu 1"))
    (note,) = mine.notes
    assert note == (
        f"gpu 0 is in use by other processes, so trials wait until they are gone: pid {pid} (you: sleep), 12.3 GB"
    )
    there.write_text("12400000000")
    clock.now += CHECK_EVERY_S
    assert not mine.reserve(attempt("a", 0), slot())
    assert mine.notes == [note]
    there.unlink()
    assert not mine.reserve(attempt("a", 0), slot())  # looked at only now and then
    clock.now += CHECK_EVERY_S
    assert mine.reserve(attempt("a", 0), slot())
    assert mine.notes[1:] == [f"gpu 0 is free again: pid {pid} (you: sleep), 12.4 GB is gone"]


def test_the_user_of_another_process_is_named(
    runs: Runs, fake: Fake, attempt: Attempts, monkeypatch: pytest.MonkeyPatch, process: Callable[..., int]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    mine, pid = runs("a"), process()
    fake.occupy("GPU-a", pid)
    assert not mine.reserve(attempt("a", 0), slot())
    assert f"pid {pid} ({getpass.getuser()}: sleep), 1.0 GB" in mine.notes[0]


@pytest.mark.parametrize(
    ("told", "unseen", "said"),
    [
        (None, 0, ""),
        (None, 200_000_000, ""),  # the driver's own
        (None, 5_000_000_000, "a process that is not visible from here, 5.0 GB"),
        ("400000000 draws", 0, ""),  # a user's desktop
        ("none", 5_000_000_000, f"pid {FOREIGN_PID} (not visible from here)"),
    ],
)
def test_memory_reveals_a_process_that_is_not_listed(scene: Scene, told: str | None, unseen: int, said: str) -> None:
    mine = scene.runs("a")
    if told is not None:
        scene.fake.occupy("GPU-a", FOREIGN_PID, told)
    scene.fake.say("unseen", "GPU-a", unseen)
    assert mine.reserve(scene.attempt("a", 0), slot()) == (not said)
    assert said in "".join(mine.notes)


def test_neighbours_that_have_claims_are_no_strangers(
    runs: Runs, fake: Fake, attempt: Attempts, process: Callable[..., int]
) -> None:
    mine, other = runs("a"), runs("b")
    assert mine.reserve(attempt("a", 0), slot(part=0.25, name="gpu 0 #1"))
    fake.occupy("GPU-a", process(attempt("a", 0)))
    fake.occupy("GPU-a", FOREIGN_PID)  # in a container that may be the neighbour's number
    assert other.reserve(attempt("b", 0), slot(part=0.25, name="gpu 0 #2"))
    fake.occupy("GPU-a", process(attempt("b", 0)))
    assert mine.reserve(attempt("a", 1), slot(part=0.25, name="gpu 0 #2"))
    fake.occupy("GPU-a", process())
    assert not mine.reserve(attempt("a", 2), slot(part=0.25, name="gpu 0 #3"))
    assert [note.partition(":")[0] for note in mine.notes] == [
        "gpu 0 is in use by other processes, so trials wait until they are gone"
    ]


def test_what_an_attempt_left_on_its_device_is_waited_for(
    runs: Runs, fake: Fake, clock: Clock, attempt: Attempts, process: Callable[..., int]
) -> None:
    mine, first = runs("a"), attempt("a", 0)
    assert mine.reserve(first, slot())
    left = fake.occupy("GPU-a", process(first))
    first.exit.write_text("{}")
    assert not mine.reserve(attempt("a", 1), slot())
    left.unlink()
    clock.now += CHECK_EVERY_S
    assert mine.reserve(attempt("a", 1), slot())


def test_sharing_uses_an_occupied_device_and_reports_it(
    runs: Runs, fake: Fake, attempt: Attempts, process: Callable[..., int]
) -> None:
    mine, other = runs("a", share=True), runs("b")
    pid = process()
    fake.occupy("GPU-a", pid)
    assert other.reserve(attempt("b", 0), slot("GPU-b"))
    assert mine.reserve(attempt("a", 0), slot())
    assert mine.reserve(attempt("a", 1), slot("GPU-b", name="gpu 1"))
    assert mine.notes == [f"gpu 0 is used although other processes use it: pid {pid} (you: sleep), 1.0 GB"]


def test_waiting_for_another_sweep_is_reported_after_a_while(runs: Runs, clock: Clock, attempt: Attempts) -> None:
    mine, other = runs("a"), runs("b")
    cores = Slot(name="cpu 0", needs={"cores": 2.0})
    assert other.reserve(attempt("b", 0), cores)
    assert not mine.reserve(attempt("a", 0), cores)
    assert mine.notes == []
    clock.now += REPORT_AFTER_S
    assert not mine.reserve(attempt("a", 0), cores)
    (note,) = mine.notes
    assert note.startswith("trials wait for slots that are in use by other sweeps on this machine: /")
    assert note.endswith("/b")


def test_another_sweep_that_ends_makes_no_note_of_those_that_are_left(
    runs: Runs, clock: Clock, attempt: Attempts
) -> None:
    mine, other, third = runs("a"), runs("b"), runs("c")
    half = Slot(name="cpu 0", needs={"cores": 1.0})
    assert other.reserve(attempt("b", 0), half)
    assert third.reserve(attempt("c", 0), half)
    cores = Slot(name="cpu 0", needs={"cores": 2.0})
    assert not mine.reserve(attempt("a", 0), cores)
    clock.now += REPORT_AFTER_S
    assert not mine.reserve(attempt("a", 0), cores)
    assert len(mine.notes) == 1
    assert mine.notes[0].endswith("/c")
    attempt("b", 0).exit.write_text("{}")
    clock.now += 1
    assert not mine.reserve(attempt("a", 0), cores)
    assert len(mine.notes) == 1


def test_what_a_slot_waits_for_is_named_for_as_long_as_it_waits(
    scene: Scene, clock: Clock, process: Callable[..., int], tmp_path: Path
) -> None:
    runs, fake, attempt = scene
    mine, other, third = runs("a"), runs("b"), runs("c")
    cores = Slot(name="cpu 0", needs={"cores": 2.0})
    assert other.reserve(attempt("b", 0), cores)
    assert not mine.reserve(attempt("a", 0), cores)
    uses = Blocker(text=f"the sweep {tmp_path / 'b'} uses the slots", sweep=str(tmp_path / "b"))
    assert mine.waits_for() == [uses]
    attempt("b", 0).exit.write_text("{}")
    clock.now += 0.1
    assert not third.reserve(attempt("c", 0), cores)
    first = Blocker(text=f"the sweep {tmp_path / 'a'} comes first", sweep=str(tmp_path / "a"))
    assert third.waits_for() == [first]
    assert mine.reserve(attempt("a", 0), cores)
    assert mine.waits_for() == []
    assert not mine.reserve(attempt("a", 1), Slot(name="cpu 1", needs={"cores": 1.0}))
    assert mine.waits_for()[0].text == f"the sweep {tmp_path / 'c'} comes first"
    clock.now += FORGET_S + 1
    assert mine.waits_for() == []  # it is not asked for any more
    assert not mine.reserve(attempt("a", 1), Slot(name="cpu 1", needs={"cores": 1.0}))
    assert mine.waits_for() == [Blocker(text="attempt 1 of trial 0000 of this sweep still has the slot")]
    pid = process()
    fake.occupy("GPU-a", pid)
    assert not third.reserve(attempt("c", 0), slot())
    assert third.waits_for()[-1].text == f"gpu 0 is in use by other processes: pid {pid} (you: sleep), 1.0 GB"


def test_a_locked_ledger_is_named(runs: Runs, attempt: Attempts, tmp_path: Path) -> None:
    mine = runs("a")
    lock = acquire(tmp_path / "slots" / "lock", holder="pid 123\n")
    assert lock is not None
    assert not mine.reserve(attempt("a", 0), Slot(name="cpu 0", needs={"cores": 1.0}))
    assert mine.waits_for() == [Blocker(text="the slot ledger is locked by pid 123")]
    lock.release()
    assert mine.reserve(attempt("a", 0), Slot(name="cpu 0", needs={"cores": 1.0}))


def test_an_attempt_gets_a_whole_device_once_its_neighbours_have_ended(
    runs: Runs, clock: Clock, attempt: Attempts
) -> None:
    mine = runs("a")
    parts = [slot(part=0.5, name=f"gpu 0 #{n}") for n in (1, 2)]
    assert all(mine.reserve(attempt("a", n), part) for n, part in enumerate(parts))
    attempt("a", 0).exit.write_text("{}")
    assert not mine.reserve(attempt("a", 2), parts[0].exclusive)
    assert not mine.reserve(attempt("a", 3), parts[0])  # though half of it is free
    attempt("a", 1).exit.write_text("{}")
    assert mine.reserve(attempt("a", 2), parts[0].exclusive)
    assert not mine.reserve(attempt("a", 3), parts[1])


def test_a_drain_ends_when_its_attempt_stops_asking(runs: Runs, clock: Clock, attempt: Attempts) -> None:
    mine = runs("a")
    parts = [slot(part=0.5, name=f"gpu 0 #{n}") for n in (1, 2)]
    assert mine.reserve(attempt("a", 0), parts[0])
    assert not mine.reserve(attempt("a", 1), parts[1].exclusive)
    clock.now += DRAIN_S + 0.1
    assert mine.reserve(attempt("a", 2), parts[1])


def test_a_slot_without_needs_is_always_free(clock: Clock, attempt: Attempts) -> None:
    assert Reservations(None, None, clock).reserve(attempt("a", 0), Slot(name="x"))


def test_an_unwritable_ledger_does_not_stop_a_sweep(runs: Runs, tmp_path: Path, attempt: Attempts) -> None:
    mine = runs("a")
    (tmp_path / "slots").rmdir()
    assert mine.reserve(attempt("a", 0), Slot(name="cpu 0", needs={"cores": 1.0}))
    assert mine.notes == [
        f"slots are not shared with other sweeps on this machine: {tmp_path}/slots: No such file or directory"
    ]


def test_a_neighbour_that_is_about_to_end_is_recognised_by_its_shim(
    runs: Runs, fake: Fake, attempt: Attempts, process: Callable[..., int]
) -> None:
    """It has no environment any more, and has closed the lease."""
    mine = runs("a")
    assert mine.reserve(attempt("a", 0), slot(part=0.5, name="gpu 0 #1"))
    lease = claim(attempt("a", 0))  # by this process, so that its children belong to the attempt
    fake.occupy("GPU-a", process())
    assert mine.reserve(attempt("a", 1), slot(part=0.5, name="gpu 0 #2"))
    lease.release()
