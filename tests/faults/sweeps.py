"""Small sweeps in real processes, in a folder of their own: what they run, and what can be seen of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sweeper
from sweeper.errors import RecordError
from sweeper.record.events import Event, Launched
from sweeper.record.reader import read_trials
from sweeper.record.storage.claim import owner_of
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir
from sweeper.record.storage.lease import holder_of, is_held
from sweeper.record.trial import State, TrialRecord
from sweeper.results.status import read_sweep, to_json
from sweeper.views.tensorboard.event_files import read_scalars
from sweeper.worker.process.shim import descendants

ROOT = Path(sweeper.__file__).parents[1]
MARK = "SWEEPER_FAULTS_FOLDER"
LAUNCHES = ("spawn", "preload")
"""How trials are launched, by turns: by the seed modulo 2."""

PRELUDE = """
import fcntl, json, os, signal, subprocess, sys, time, types
from pathlib import Path
import sweeper
from sweeper.worker.trial import recorder_of
from sweeper.record.events import Checkpointed, Resumed
from sweeper.record.storage.layout import write_json

here, rank = Path(os.environ["SWEEPER_TRIAL_DIR"]), os.environ.get("RANK", "0")
traces = Path("traces")  # not in the trial's directory: a fault may take that away, or fill its disk
traces.mkdir(exist_ok=True)
trace = os.open(traces / f"{here.name}-{rank}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

def say(what):
    os.write(trace, f"{os.getpid()} {time.monotonic():.4f} {what}\\n".encode())

guard = open(traces / f"{here.name}-{rank}.guard", "a")
try:
    fcntl.lockf(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone: no child of it inherits the lock
except OSError:
    say("overlap")
say("begin")
if "sweeper.worker.process.shim" in sys.modules:
    say("forked")
if Path("bad-slot").exists() and Path("bad-slot").read_text() == os.environ.get("FAULTS_SLOT"):
    os.kill(os.getpid(), signal.SIGKILL)

def stuck_collective():
    while True:
        time.sleep(1)

def no_memory():
    torch = types.ModuleType("torch")
    torch.OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})
    torch.cuda = types.SimpleNamespace(is_initialized=lambda: True, max_memory_allocated=lambda: 3 << 30)
    sys.modules["torch"] = torch
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

def obey(trial, step):
    # An order of the harness goes to the worker that is the first to take it.
    mine = Path(f"order-of-{here.name}")
    try:
        os.rename("order" if rank == "0" else f"order-to-rank-{rank}", mine)
    except FileNotFoundError:
        return
    match mine.read_text():
        case "hang": stuck_collective()
        case "error": raise ValueError("no luck")
        case "exit 137": os._exit(137)
        case "no memory": no_memory()
        case "not finite": trial.report({"accuracy": float("inf"), "loss": float("nan")}, step=step)
"""

LOOP = """
with sweeper.trial() as trial:
    params, kept, parent = trial.params, here / "kept.json", os.getppid()
    if params.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    steps = params["steps"]
    trial.plan(total_steps=steps)
    state = json.loads(kept.read_bytes()) if kept.exists() else None
    if state is not None:
        recorder_of(trial).append(Resumed(step=state["step"]), sync=True)  # as a library's own checkpoint is made known
    state = state or {"step": -1, "total": 0}
    total, diverges = state["total"], params["lr"] == params.get("diverges")
    for step in range(state["step"] + 1, steps):
        time.sleep(params["pace"] * (10 if diverges and step > 4 else 1))  # it lasts until an orchestrator looks
        if "RANK" in os.environ and os.getppid() != parent:
            time.sleep(1000)  # its launcher is gone: as in a collective that no rank completes
        obey(trial, step)
        total += params["lr"] * (step + 1)
        loss = float("nan") if diverges and step >= 4 else 1 / total
        trial.report({"accuracy": total, "loss": loss}, step=step)
        say(step)
        if rank == "0" and (step % 4 == 3 or trial.should_save):
            write_json(kept, {"step": step, "total": total})
            recorder_of(trial).append(Checkpointed(step=step, file="kept.json"), sync=True)
        if trial.should_stop:
            break
say("end")
"""

TORCH_LOOP = """
with sweeper.trial() as trial:
    params = trial.params
    steps = params["steps"]
    trial.plan(total_steps=steps)
    state = trial.restore() or {"step": -1, "total": 0}
    total = state["total"]
    for step in range(state["step"] + 1, steps):
        time.sleep(params["pace"])
        total += params["lr"] * (step + 1)
        trial.report({"accuracy": total, "loss": 1 / total}, step=step)
        say(step)
        if step % 4 == 3 or trial.should_save:
            trial.save({"step": step, "total": total}, step=step)
        if trial.should_stop:
            break
say("end")
"""

LEFT_BEHIND = """
subprocess.Popen(["sleep", "1000"], start_new_session=True)
subprocess.Popen(["sleep", "1000"])
os.system("sleep 1000 &")  # it inherits what this process inherited, the attempt's lease too
if os.fork() == 0:  # a daemon
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    os._exit(0)
"""

LOADER = """
import torch
from torch.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self):
        return 100_000

    def __getitem__(self, index):
        time.sleep(0.01)
        return torch.zeros(1)

batches = iter(DataLoader(Slow(), batch_size=2, num_workers=2, persistent_workers=True))
next(batches)
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """A small sweep on two slots. `quiet`: what its workers print is theirs or ours, and no traceback."""

    name: str
    script: str
    launcher: Sequence[str] = ()
    trials: int = 3
    steps: int = 16
    pace_s: float = 0.02
    parameters: Mapping[str, object] = field(default_factory=dict)
    quiet: bool = True
    file: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, launch: str) -> None:
        """The script and the sweep file."""
        fixed = {"steps": self.steps, "pace": self.pace_s, **self.parameters}
        file = {
            "name": "small",
            "method": "grid",
            "metric": {"name": "accuracy", "goal": "maximize"},
            "parameters": {
                "lr": {"values": list(range(1, self.trials + 1))},
                **{name: {"value": value} for name, value in fixed.items()},
            },
            "command": ["${interpreter}", *self.launcher, "train.py"],
            "launch": launch,
            **self.file,
        }
        (folder / "train.py").write_text(self.script)
        (folder / "sweep.yaml").write_text(json.dumps(file))


PLAIN = Kind(name="plain", script=PRELUDE + LOOP)
TORCH = Kind(name="torch", script=PRELUDE + TORCH_LOOP)
DAEMONS = Kind(name="daemons", script=PRELUDE + LEFT_BEHIND + LOOP)
PRUNED = Kind(
    name="pruned",
    script=PRELUDE + LEFT_BEHIND + LOOP,
    steps=60,
    parameters={"diverges": 2},
    file={"early_stop": {"rules": [{"non_finite": {"metric": "loss"}}]}},
)
LOADERS = Kind(name="loaders", script=PRELUDE + LOADER + LOOP, quiet=False)
RANKS = Kind(
    name="ranks",
    script=PRELUDE + LOOP,
    quiet=False,
    launcher=["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
)
LOUD = Kind(name="loud", script=PRELUDE + LOOP, quiet=False, file={"retry": {"backoff_s": 0.2}})
LONG = Kind(name="long", script=PRELUDE + LOOP, steps=40, pace_s=0.05)
WATCHED = Kind(
    name="watched", script=PRELUDE + LOOP, quiet=False, file={"hang_after_s": 5.0, "retry": {"backoff_s": 0.2}}
)
DEAF = Kind(name="deaf", script=PRELUDE + LOOP, steps=60, pace_s=0.05, parameters={"deaf": True})
MANY = Kind(name="many", script=PRELUDE + LOOP, trials=8, steps=8, file={"retry": {"backoff_s": 0.1}})


class Site:
    """A folder with a small sweep, and the processes that were started for it."""

    def __init__(self, kind: Kind, folder: Path, launch: str = "spawn") -> None:
        self.kind = kind
        self.folder = folder.resolve()
        self.run = SweepDir(self.folder / "runs" / "small")
        self.outputs: list[Path] = []
        self.environment: dict[str, str] = {}
        kind.write(self.folder, launch)

    def start(self, *arguments: str, program: str = "sweeper.cli", **options: Any) -> subprocess.Popen[bytes]:
        """`sweeper run`, or another command, with its output in a file unless told otherwise."""
        self.outputs.append(self.folder / f"output-{len(self.outputs)}.txt")
        own = {"PYTHONPATH": str(ROOT), "COLUMNS": "100", MARK: str(self.folder)}
        own["SWEEPER_SLOTS"] = str(self.folder / "slots")  # shared with no other sweep
        with self.outputs[-1].open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", program, *(arguments or ("run", "sweep.yaml", "--workers", "2"))],
                cwd=self.folder,
                env={**os.environ, **own, **self.environment},
                **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT, **options},
            )

    def said(self) -> str:
        """All that was printed so far, by whomever."""
        workers = self.run.path.glob("trials/*/attempts/*/output.log") if self.kind.quiet else ()
        logs = [*self.outputs, self.run.views_log, *workers]
        return "".join(path.read_text(errors="replace") for path in logs if path.exists())

    def record(self) -> dict[Path, bytes]:
        """The complete lines of every file of the record."""
        patterns = ("log.jsonl", "search.jsonl", "spec.json", "sweep.yaml")
        below = ("trial.json", "control.jsonl", *(f"attempts/*/{name}" for name in ("claim", "events.jsonl")))
        files = [path for pattern in patterns for path in self.run.path.glob(pattern)]
        for pattern in (*below, "attempts/*/exit.json", "attempts/*/output.log"):
            files += self.run.path.glob(f"trials/*/{pattern}")
        return {path: _whole_lines(path) for path in sorted(files)}

    def lines(self) -> int:
        """The length of the journals in lines."""
        return sum(data.count(b"\n") for path, data in self.record().items() if path.suffix == ".jsonl")

    def trials(self) -> list[TrialRecord]:
        """The trials that can be read, as their record has them now."""
        return [trial for trial, _ in read_trials(self.run)[0]]

    def trial(self, number: int) -> TrialRecord | None:
        """The trial of this number, where it can be read."""
        return next((trial for trial in self.trials() if trial.facts.number == number), None)

    def table(self) -> list[dict[str, Any]]:
        """What became of each trial, without what a fault may change: attempts, seconds, torn lines."""
        status: Any = to_json(read_sweep(self.run))
        trials = [{k: v for k, v in trial.items() if k not in _MAY_DIFFER} for trial in status["trials"]]
        for trial in trials:
            if trial["pruned"] is not None:  # no promise says when the decision reaches the worker
                trial["pruned"] = (trial["pruned"]["rule"], trial["pruned"]["step"])
                del trial["step"], trial["value"], trial["values"]
        return trials

    def points(self) -> dict[str, dict[int, float]]:
        """The points of the curve `accuracy` in TensorBoard, by run and step; not those of trials that were pruned."""
        pruned = [trial.directory for trial in self.trials() if trial.state is State.PRUNED]
        return {
            name: {event.step: event.values["accuracy"] for event in events if "accuracy" in event.values}
            for name, events in read_scalars(self.run.tensorboard).items()
            if not any(name.startswith(trial.path.name) for trial in pruned)
        }

    def attempts(self) -> list[AttemptDir]:
        """Every attempt of every trial."""
        return [attempt for trial in self.run.trials() for attempt in trial.attempts()]

    def control(self) -> list[Event]:
        """What was done with the trials, as far as that can be read."""
        events: list[Event] = []
        for trial in self.run.trials():
            with contextlib.suppress(RecordError):
                events += read_journal(trial.control)
        return events

    def launches(self) -> int:
        """How many attempts were launched."""
        return sum(isinstance(event, Launched) for event in self.control())

    def forked(self) -> int:
        """How many workers were forked from a process that had imported what they import."""
        return sum(path.read_text().count(" forked\n") for path in self.traces())

    def traces(self) -> list[Path]:
        """What workers say that they do, a file a trial and rank."""
        return [path for path in sorted(self.folder.glob("traces/*")) if path.suffix != ".guard"]

    def running(self) -> list[tuple[int, AttemptDir]]:
        """The shims with a running worker, each with its attempt."""
        owners = [(owner_of(attempt).get("pid"), attempt) for attempt in self.attempts() if is_held(attempt.lease)]
        return [(pid, attempt) for pid, attempt in owners if isinstance(pid, int) and descendants(pid)]

    def shims(self) -> list[int]:
        """The shims with a running worker."""
        return [pid for pid, _ in self.running()]

    def views(self) -> int | None:
        """The views process that draws."""
        holder = holder_of(self.run.views_lease).removeprefix("pid ").split()
        return int(holder[0]) if holder and is_held(self.run.views_lease) else None

    def processes(self) -> dict[int, str]:
        """The living processes of the sweep: its folder is in their environment, or they work in it."""
        mark = f"{MARK}={self.folder}".encode()
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                marked = mark in (process / "environ").read_bytes().split(b"\0")
                within = (process / "cwd").readlink().is_relative_to(self.folder)
                if (marked or within) and process.name != str(os.getpid()):
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
        return found

    def clear(self) -> None:
        """End what is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


# Spikes are far from the recent values of their attempt, and a new attempt has none yet.
_MAY_DIFFER = {"attempts", "seconds", "damaged", "spikes"}


def _whole_lines(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    return data[: data.rfind(b"\n") + 1]
