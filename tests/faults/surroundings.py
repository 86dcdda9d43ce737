"""Rows 8, 11, 14 to 16 and 18 of the fault matrix: what happens to what a sweep stands on and is seen through."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sweeper.record.causes import Cause
from sweeper.record.events import SweepEnded, SweepStarted
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir
from tests.faults.harness import PATIENCE_S, Fault, Scene
from tests.faults.processes import kill, kill_everything, kill_orchestrator
from tests.faults.small import fill, mount, tmpfs
from tests.faults.sweeps import LONG, LOUD, ROOT, Site

HOUR_S = 3600
USAGE, FAILED = 2, 1
NO_ROOM = "No space left on device"


# ---- row 8: disks -------------------------------------------------------------------------------------------------


def small_disk(below: str) -> Callable[[Site], contextlib.AbstractContextManager[None]]:
    """A disk of a megabyte for a part of the run's directory."""

    @contextlib.contextmanager
    def around(site: Site) -> Iterator[None]:
        with tmpfs(site.run.path / below, "1m"):
            yield

    return around


def fill_disk(below: str) -> Callable[[Scene], None]:
    """Nothing more fits, until the call has ended; what is written can be read."""

    def inject(scene: Scene) -> None:
        site = scene.site
        filler = fill(site.run.path / below)
        code = scene.end_of_first_call()
        logs = [*site.outputs, *site.run.path.glob("trials/*/attempts/*/output.log")]
        said = "".join(path.read_text(errors="replace") for path in logs)
        scene.expect(code in (0, FAILED, USAGE), f"expected 0, 1 or 2, got {code}: {said[-500:]}")
        scene.expect(code == 0 or NO_ROOM in said, f"expected {NO_ROOM!r} of a call that ends with {code}: {said}")
        torn = [trial.facts.number for trial in site.trials() if trial.damaged]
        scene.expect(not torn, f"lines of the record of {torn} cannot be read")
        filler.unlink()

    return inject


def fill_cache(scene: Scene) -> None:
    """A cache that is too small for what is made in it, by chance; then one that is not."""
    request = json.dumps({"dataset": ["synthetic-topics"], "tokenizer": ["wordpiece"], "max_length": [16]})
    place = scene.site.folder / "cache"

    def prepare() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sweeper.trainers.prepare"],
            input=request,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEPER_CACHE": str(place)},
            capture_output=True,
            text=True,
        )

    with tmpfs(place, f"{4 * scene.random.randint(1, 64)}k"):
        refused = prepare()
        if refused.returncode:
            said = refused.stderr
            held = refused.returncode == USAGE and str(place) in said and "SWEEPER_CACHE" in said
            scene.expect(held and "Traceback" not in said, f"a full cache: got {refused.returncode} and {said}")
            left = [path.name for path in place.rglob("*") if path.is_file()]
            scene.expect(not left, f"a full cache: {left} are left, half made")
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        again = prepare()
        scene.expect(again.returncode == 0, f"with room again: got {again.returncode} and {again.stderr}")


# ---- row 11: the wall clock -----------------------------------------------------------------------------------------


def faketime() -> Path:
    """libfaketime, which only CLOCK_REALTIME is given to; skips the test where it is not installed."""
    spec = importlib.util.find_spec("libfaketime")
    found = [] if spec is None or spec.origin is None else list(Path(spec.origin).parent.rglob("libfaketime.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed (pip install libfaketime)")
    return found[0]


@contextlib.contextmanager
def own_clock(site: Site) -> Iterator[None]:
    """The wall clock of all processes of the sweep is as far off as a file says."""
    set_clock(site, 0)
    site.environment |= {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(site.folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    yield


def set_clock(site: Site, offset_s: int) -> None:
    """Have the clock of all processes of the sweep be so far off from now on."""
    aside = site.folder / "clock.new"
    aside.write_text(f"{offset_s:+d}\n")
    aside.rename(site.folder / "clock")


def turn_clock(*hours: int) -> Callable[[Scene], None]:
    """By hours, one after another; no trial's time is negative for it."""

    def inject(scene: Scene) -> None:
        for hour in hours:
            set_clock(scene.site, hour * HOUR_S)
            time.sleep(scene.random.uniform(0, 0.2))
        scene.afterwards.append(functools.partial(_no_negative_time, scene.site))

    return inject


def turn_clock_between(scene: Scene) -> None:
    """Back, after all was killed and before the next call."""
    kill_everything(scene)
    set_clock(scene.site, scene.random.choice([-HOUR_S, HOUR_S]))
    scene.afterwards.append(functools.partial(_no_negative_time, scene.site))


def _no_negative_time(site: Site) -> Iterator[str]:
    for trial in site.trials():
        if trial.seconds(time.time()) < 0:
            yield f"{trial.facts.number:04d} took {trial.seconds(time.time())} s"


# ---- row 14: directories that are not to be written -----------------------------------------------------------------


@contextlib.contextmanager
def own_mount(site: Site) -> Iterator[None]:
    """The runs lie on a mount of their own."""
    runs = site.run.path.parent
    runs.mkdir()
    mount("--bind", str(runs), str(runs))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(runs)], check=True)


def make_read_only(scene: Scene) -> None:
    """Refused in words, with nothing started, until it can be written again."""
    kill_everything(scene)
    site, runs = scene.site, str(scene.site.run.path.parent)
    deadline = time.monotonic() + PATIENCE_S
    remount = ["mount", "-o", "remount,ro,bind", runs]
    while subprocess.run(remount, capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.05)  # a killed process has files open for a moment more
    before = site.launches()
    _expect_refusal(scene, site.start(), "Read-only file system")
    scene.expect(site.launches() == before, "something was launched from a read-only directory")
    mount("-o", "remount,rw,bind", runs)


def share(scene: Scene) -> None:
    """Taken with a word of warning, as far as this host ran it; refused where another may be at it."""
    kill_orchestrator(scene)
    site = scene.site
    call = ("shared", "run", "sweep.yaml", "--workers", "2")
    if site.run.spec.exists():
        with JournalWriter(site.run.log) as log:
            log.append(SweepStarted(pid=17, host="elsewhere", profile="", slots=()))
        second = site.start(*call, program="tests.faults.faked")
        _expect_refusal(scene, second, "may still be run by pid 17 on elsewhere: it is on nfs4")
        with JournalWriter(site.run.log) as log:
            log.append(SweepStarted(pid=17, host=socket.gethostname(), profile="", slots=()))
    code = site.start(*call, program="tests.faults.faked").wait(PATIENCE_S)
    said = site.outputs[-1].read_text()
    held = code == 0 and "is on nfs4, where locks may not work between hosts" in said
    scene.expect(held, f"on a shared disk: expected 0 and a warning, got {code} and {said}")


def _expect_refusal(scene: Scene, call: subprocess.Popen[bytes], words: str) -> None:
    code, said = call.wait(PATIENCE_S), scene.site.outputs[-1].read_text()
    scene.expect(code == USAGE and words in said, f"expected {USAGE} and {words!r}, got {code} and {said!r}")


# ---- row 15: views ------------------------------------------------------------------------------------------------


def kill_views(scene: Scene) -> None:
    while (views := scene.site.views()) is None and scene.orchestrator.poll() is None:
        time.sleep(0.01)
    kill(views)


def kill_views_whenever_seen(scene: Scene) -> None:
    while scene.orchestrator.poll() is None:
        kill(scene.site.views())
        time.sleep(0.02)


def take_the_port(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if not scene.site.run.spec.exists():
            return
        board = scene.site.start("tensorboard", str(scene.site.run.path), "--port", str(port))
        code, said = board.wait(PATIENCE_S), scene.site.outputs[-1].read_text()
    if code != 2 or f"port {port}" not in said or "--port" not in said:
        scene.problems.append(f"a port that is taken: expected 2 and a sentence, got {code} and {said!r}")


# ---- row 16: the terminal -----------------------------------------------------------------------------------------


def hang_up(scene: Scene) -> None:
    scene.orchestrator.send_signal(signal.SIGHUP)


def close_the_other_end(scene: Scene) -> None:
    os.close(scene.pipe)


def stop_terminal(scene: Scene) -> None:
    """Ctrl-S: the terminal takes nothing more. The sweep goes on to its end, and says the rest after Ctrl-Q."""
    os.write(scene.pipe, b"\x13")
    deadline = time.monotonic() + PATIENCE_S
    while scene.orchestrator.poll() is None and time.monotonic() < deadline:
        ends = [event for event in _log(scene.site.run) if isinstance(event, SweepEnded)]
        if ends:
            break
        time.sleep(0.05)
    scene.expect(time.monotonic() < deadline, "the sweep waits for its terminal")
    os.write(scene.pipe, b"\x11")
    said = b""
    while scene.orchestrator.poll() is None and time.monotonic() < deadline:
        if select.select([scene.pipe], [], [], 0.05)[0]:
            with contextlib.suppress(OSError):
                said += os.read(scene.pipe, 65_536)
    with contextlib.suppress(OSError):
        said += os.read(scene.pipe, 65_536)
    scene.expect(b"accuracy" in said, f"expected the ranking after Ctrl-Q, got {said!r}")


def _log(run: SweepDir) -> Sequence[object]:
    return read_journal(run.log) if run.log.exists() else []


# ---- row 18: a device is lost ---------------------------------------------------------------------------------------


def lose_device(scene: Scene) -> None:
    """The driver reports an Xid of one of two: its trial goes on with the other, and nothing more is launched there."""
    number = scene.random.choice([0, 1])
    aside = scene.site.folder / "lost.new"
    aside.write_text(["GPU-fake-a", "GPU-fake-b"][number])
    aside.rename(scene.site.folder / "lost-device")
    scene.expect_end(0)
    slot, said = f"gpu {number}", scene.site.outputs[0].read_text()
    lost = [t for t in scene.site.trials() for attempt in t.attempts if attempt.cause == Cause.LOST]
    told = f"No more attempts are launched on slot {slot}" in said and "Xid 79: fallen off the bus" in said
    scene.expect(told or not lost, f"{[t.facts.number for t in lost]} were lost, and the slot is used on")
    for trial in lost:
        elsewhere = [attempt.slot for attempt in trial.attempts[1:]]
        scene.expect(elsewhere and slot not in elsewhere, f"{trial.facts.number:04d} was retried on {elsewhere}")


FAULTS: Sequence[Fault] = (
    Fault(name="views-killed", row=15, title="SIGKILL of the views process", inject=kill_views),
    Fault(
        name="views-killed-always",
        row=15,
        title="SIGKILL of the views process, each time it is started",
        inject=kill_views_whenever_seen,
        drawn=False,
    ),
    Fault(
        name="port-taken", row=15, title="`sweeper tensorboard --port` with a port that is in use", inject=take_the_port
    ),
    Fault(name="hang-up", row=16, title="SIGHUP to the orchestrator", inject=hang_up),
    Fault(
        name="pipe-closed",
        row=16,
        title="the reader of the output ends (a pipe into `head`)",
        inject=close_the_other_end,
        stdout="pipe",
    ),
    Fault(name="terminal-gone", row=16, title="the terminal is closed", inject=close_the_other_end, stdout="terminal"),
    Fault(
        name="terminal-stopped",
        row=16,
        title="the terminal is stopped (Ctrl-S): the sweep continues, and prints the rest after Ctrl-Q",
        inject=stop_terminal,
        stdout="terminal",
    ),
    Fault(
        name="disk-full",
        row=8,
        title="the disk of the run's directory is full for a while",
        inject=fill_disk("."),
        kind=LOUD,
        around=small_disk("."),
        survived=False,
    ),
    Fault(
        name="disk-full-trials",
        row=8,
        title="the disk of the trials' directories is full for a while",
        inject=fill_disk("trials"),
        kind=LOUD,
        around=small_disk("trials"),
        survived=False,
    ),
    Fault(
        name="cache-full",
        row=8,
        title="the cache of encodings does not fit on its disk",
        inject=fill_cache,
        at_once=True,
        slow=True,
    ),
    Fault(
        name="clock-forward",
        row=11,
        title="the wall clock goes forward an hour (libfaketime)",
        inject=turn_clock(1),
        around=own_clock,
    ),
    Fault(name="clock-back", row=11, title="the wall clock goes back an hour", inject=turn_clock(-1), around=own_clock),
    Fault(
        name="clock-to-and-fro",
        row=11,
        title="the wall clock goes back one hour, and then forward two",
        inject=turn_clock(-1, 1),
        around=own_clock,
    ),
    Fault(
        name="clock-between-calls",
        row=11,
        title="SIGKILL of everything; for the next call the clock is an hour earlier or later",
        inject=turn_clock_between,
        around=own_clock,
        survived=False,
    ),
    Fault(
        name="read-only",
        row=14,
        title="SIGKILL of everything; the next call finds a read-only directory, and refuses to start",
        inject=make_read_only,
        around=own_mount,
        survived=False,
    ),
    Fault(
        name="shared",
        row=14,
        title="SIGKILL of the orchestrator; then a network file system (simulated): refused while "
        "another host may run it, otherwise a warning",
        inject=share,
        survived=False,
    ),
    Fault(
        name="device-lost",
        row=18,
        title="the driver reports an Xid (simulated NVML): the slot is quarantined, the trial is retried elsewhere",
        inject=lose_device,
        kind=LONG,
        faked=("gpus", "grace_s=5"),
    ),
)
