"""Signals to the shim and the worker of an attempt at every point of its launch, and what has to hold afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.executors.preload import ForkedShim
from sweeper.executors.processes import kill_marked, marked
from sweeper.executors.slots.ledger import SlotLedger
from sweeper.executors.slots.reservations import Reservations
from sweeper.record.reader import read_exit
from sweeper.record.storage.layout import AttemptDir, SweepDir, write_json
from tests.faults.sweeps import ROOT

PATIENCE_S = 90.0
POINTS = Path(__file__).parent / "points"
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP)

SPAWN = {
    "the interpreter of the shim starts": "shim start",
    "the shim imports its first module": "shim import ctypes",
    "the shim imports its last module": "shim import sweeper.worker.standalone",
    "before the lease": "shim open /lease",
    "before the claim": "shim open /claim",
    "after the claim": "shim open /trial.json",
    "before the worker starts": "shim subprocess.Popen",
    "the interpreter of the worker starts": "worker start",
    "before the worker's script": "worker open train.py",
    "before the worker's first event": "worker open /events.jsonl",
    "the worker trains": "worker open at-work",
    "the worker has trained": "worker open at-end",
    "the worker's interpreter starts, to the shim": "worker>shim start",
    "before the worker's first event, to the shim": "worker>shim open /events.jsonl",
    "the worker trains, to the shim": "worker>shim open at-work",
    "after the worker's end": "shim open /.exit.json",
}
"""The points of a launch without preloading, in their order, in the terms of `points/sitecustomize.py`."""

FORKED = {
    "after the fork of the shim": "shim open dev/null",
    "the shim has its environment": "shim os.putenv MARK",
    "after the fork of the worker": "worker os.putenv SWEEPER_TRIAL_DIR",
    "after the fork of the worker, to the shim": "worker>shim os.putenv SWEEPER_TRIAL_DIR",
    "before the worker starts": "shim os.fork",
}
NO_INTERPRETER = ("start", "import", "subprocess.Popen")
PRELOAD = {name: point for name, point in SPAWN.items() if point.split()[1] not in NO_INTERPRETER} | FORKED
"""Those with preloading: shim and worker are forks, so that no interpreter starts and nothing is imported."""

ABOUT_TO_START = ("shim subprocess.Popen", "shim os.fork")
"""Here the shim starts its worker in any case, and passes the signal on then: perhaps behind the worker's end."""

TABLES = {"spawn": SPAWN, "preload": PRELOAD}

SCRIPT = """
import sweeper
with sweeper.trial() as trial:
    for step in range(3):
        trial.report({"m": 1.0}, step=step)
        open("at-work", "a").close()
open("at-end", "a").close()
"""


class Launches:
    """Attempts on one slot, one after the other; it is taken from the ledger each time, as in a sweep."""

    def __init__(self, folder: Path, launch: str, script: str = SCRIPT) -> None:
        (folder / "train.py").write_text(script)
        self.folder, self.launch = folder, launch
        self.run = SweepDir(folder / "runs" / "small")
        (folder / "slots").mkdir()
        self.ledger = SlotLedger(folder / "slots", self.run.path, cores=1, cpus=[0], wanted=["cores"])
        reservations = Reservations(self.ledger, None, time.monotonic)
        self.executor = LocalExecutor([], preload=launch == "preload", reservations=reservations)
        self.count = 0
        if launch == "preload":
            self.undisturbed()
            server = self.executor._preloaded
            assert server is not None
            until(lambda: server.is_ready or server.trouble)
            assert server.is_ready, server.trouble

    def start(self, **environment: str) -> AttemptDir:
        """Start an attempt of a new trial; the slot has to be free at once."""
        trial = self.run.trial(self.count)
        self.count += 1
        trial.path.mkdir(parents=True)
        facts = {"number": trial.number, "configuration": 0, "seed": 0, "params": {}, "shown": {}, "command": []}
        write_json(trial.facts, {**facts, "metric": "m", "maximize": True}, sync=False)
        slot = Slot(name="cpu 0", needs={"cores": 1.0}, environment={"MARK": "x", **environment})
        assert self.executor.reserve(trial, 1, slot), self.executor.waits_for()
        self.executor.launch(trial, 1, [sys.executable, "train.py"], slot)
        forked = isinstance(self.executor._shims[trial.attempt(1).path], ForkedShim)
        assert forked == (self.launch == "preload" and self.count > 1)
        return trial.attempt(1)

    def undisturbed(self) -> None:
        attempt = self.start()
        self.wait(attempt)
        ended = read_exit(attempt)
        assert ended is not None, attempt.output.read_text()
        assert ended.code == 0, attempt.output.read_text()

    def disturbed(self, point: str, number: int) -> AttemptDir:
        """Run an attempt that gets a signal at a point, to its end."""
        mark = self.folder / f"mark-{self.count}"
        attempt = self.start(POINT=point, POINT_SIGNAL=str(int(number)), POINT_MARK=str(mark))
        self.wait(attempt)
        assert mark.exists(), "the launch did not come to this point"
        return attempt

    def wait(self, attempt: AttemptDir) -> None:
        until(lambda: not self.executor.is_alive(attempt))
        assert not marked(attempt)

    def close(self) -> None:
        self.executor.close()
        for trial in self.run.trials():
            kill_marked(trial.attempt(1))


def problems(launches: Launches, point: str, number: signal.Signals) -> Iterator[str]:
    """What does not hold after a signal at a point of a launch."""
    attempt = launches.disturbed(point, number)
    ended, said = read_exit(attempt), attempt.output.read_text()
    to_shim = point.startswith("shim") or ">" in point
    begun = attempt.events.exists()
    if (ended is None) != (to_shim and number == signal.SIGKILL):
        yield f"expected an exit except after SIGKILL of the shim, got {ended}: {said}"
    elif ended is not None and "exit.json" in point:
        if (ended.code, ended.cause) != (0, ""):
            yield f"the worker had ended well before, got {ended}"
    elif ended is not None and point.startswith("shim") and point not in ABOUT_TO_START:
        if ended.signal != signal.SIGTERM or begun:
            yield f"expected no worker and SIGTERM, got {ended}, {begun=}"
    elif ended is not None and not to_shim and number == signal.SIGKILL and ended.signal != number:
        yield f"expected {number}, got {ended}"
    if to_shim and "Traceback" in said:
        yield f"a traceback: {said}"
    if [claim for claim in launches.ledger.claims() if not claim.directory.exit.exists()]:
        yield "the slot is still claimed"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


@contextlib.contextmanager
def usual_signals() -> Iterator[None]:
    """Ignore no signal for a while: what starts the tests may ignore some, as nohup(1) does, and its children too."""
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def environment() -> dict[str, str]:
    """The variables with which processes of `Launches` have to be started."""
    return {"PYTHONPATH": os.pathsep.join([str(POINTS), str(ROOT)])}
