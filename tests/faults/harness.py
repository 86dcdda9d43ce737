"""One fault at one random moment of a small sweep, and what has to hold afterwards.

`trial_of(fault, seed)` starts a sweep in real processes, waits for a moment that the seed chooses, injects the fault,
calls `sweeper run` again until the sweep has ended, and checks:

1. The table of `sweeper status --json` is that of an undisturbed sweep, and nobody's TensorBoard points are missing.
2. Every complete line of the record at the time of the fault still stands where it stood.
3. No trial had two workers at once: each holds a lock for its lifetime and says where it does not get it, and the steps
   of two processes of a trial never alternate.
4. No process of the sweep is left: none names its folder in the environment, or has it as its working directory.
5. No lease is held, and one more `sweeper run` launches nothing and ends with 0.
6. Nobody printed a traceback.

A moment is a length of the journals in lines, and a short delay: so moments are spread over what happens, on slow
machines and on fast ones. Length 0 lies before the first line, and the greatest behind the last.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sweeper
from sweeper.record.claim import owner_of
from sweeper.record.events import Launched
from sweeper.record.fold import State
from sweeper.record.journal import read_journal
from sweeper.record.layout import AttemptDir, SweepDir
from sweeper.record.lease import holder_of, is_held
from sweeper.record.trial import read_trial
from sweeper.views.eventfiles import read_scalars
from sweeper.views.status import read_sweep, to_json
from sweeper.worker.shim import descendants

ROOT = Path(sweeper.__file__).parents[1]
PATIENCE_S = 90.0
"""For anything to happen that has to; generous, since nothing here measures speed."""
MARK = "SWEEPER_FAULTS_FOLDER"
LAUNCHES = ("spawn", "preload")
"""How trials are launched, by turns: by the seed modulo 2."""
CALLS = 4


# ---- the sweeps ---------------------------------------------------------------------------------------------------

PRELUDE = """
import fcntl, json, os, signal, subprocess, sys, time
from pathlib import Path
import sweeper
from sweeper.record.events import Checkpointed, Resumed
from sweeper.record.layout import write_json

here, rank = Path(os.environ["SWEEPER_TRIAL_DIR"]), os.environ.get("RANK", "0")
trace = os.open(here / f"trace-{rank}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

def say(what):
    os.write(trace, f"{os.getpid()} {time.monotonic():.4f} {what}\\n".encode())

guard = open(here / f"guard-{rank}", "a")
try:
    fcntl.lockf(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process alone: no child of it inherits the lock
except OSError:
    say("overlap")
say("begin")
"""

LOOP = """
with sweeper.trial() as trial:
    params, kept, parent = trial.params, here / "kept.json", os.getppid()
    steps = params["steps"]
    trial.plan(total_steps=steps)
    state = json.loads(kept.read_bytes()) if kept.exists() else None
    if state is not None:
        trial.append(Resumed(step=state["step"]), sync=True)  # as a library's own checkpoint is made known
    state = state or {"step": -1, "total": 0}
    total = state["total"]
    for step in range(state["step"] + 1, steps):
        time.sleep(params["pace"])
        if "RANK" in os.environ and os.getppid() != parent:
            time.sleep(1000)  # its launcher is gone: as in a collective that nobody completes
        total += params["lr"] * (step + 1)
        loss = float("nan") if params["lr"] == params.get("diverges") and step >= 4 else 1 / total
        trial.report({"accuracy": total, "loss": loss}, step=step)
        say(step)
        if rank == "0" and (step % 4 == 3 or trial.should_save):
            write_json(kept, {"step": step, "total": total})
            trial.append(Checkpointed(step=step, file="kept.json"), sync=True)
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
    """A small sweep: three trials on two slots. `quiet`: what its workers print is theirs or ours, and no traceback."""

    name: str
    script: str
    launcher: Sequence[str] = ()
    steps: int = 16
    pace_s: float = 0.02
    diverges: int | None = None
    quiet: bool = True
    file: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path, launch: str) -> None:
        """The script and the sweep file."""
        parameters = {"lr": {"values": [1, 2, 3]}, "steps": {"value": self.steps}, "pace": {"value": self.pace_s}}
        if self.diverges is not None:
            parameters["diverges"] = {"value": self.diverges}
        file = {
            "name": "small",
            "method": "grid",
            "metric": {"name": "accuracy", "goal": "maximize"},
            "parameters": parameters,
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
    diverges=2,
    file={"early_stop": {"rules": [{"non_finite": {"metric": "loss"}}]}},
)
LOADERS = Kind(name="loaders", script=PRELUDE + LOADER + LOOP, quiet=False)
RANKS = Kind(
    name="ranks",
    script=PRELUDE + LOOP,
    quiet=False,
    launcher=["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
)


class Site:
    """A folder with a small sweep, and the processes that were started for it."""

    def __init__(self, kind: Kind, folder: Path, launch: str = "spawn") -> None:
        self.kind = kind
        self.folder = folder.resolve()
        self.run = SweepDir(self.folder / "runs" / "small")
        self.outputs: list[Path] = []
        kind.write(self.folder, launch)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """`sweeper run`, or another command, with its output in a file unless told otherwise."""
        self.outputs.append(self.folder / f"output-{len(self.outputs)}.txt")
        with self.outputs[-1].open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeper.cli", *(arguments or ("run", "sweep.yaml", "--workers", "2"))],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "COLUMNS": "100",
                    "SWEEPER_SLOTS": str(self.folder / "slots"),
                    MARK: str(self.folder),
                },
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

    def table(self) -> list[dict[str, Any]]:
        """What became of each trial, without what a fault may change: attempts, seconds, torn lines."""
        status: Any = to_json(read_sweep(self.run))
        trials = [{k: v for k, v in trial.items() if k not in _MAY_DIFFER} for trial in status["trials"]]
        for trial in trials:
            if trial["pruned"] is not None:  # when the verdict reaches the worker is nobody's promise
                trial["pruned"] = (trial["pruned"]["rule"], trial["pruned"]["step"])
                del trial["step"], trial["value"]
        return trials

    def points(self) -> dict[str, dict[int, float]]:
        """The points of the curve `accuracy` in TensorBoard, by run and step; not those of trials that were pruned."""
        pruned = [trial for trial in self.run.trials() if read_trial(trial).state is State.PRUNED]
        return {
            name: {event.step: event.values["accuracy"] for event in events if "accuracy" in event.values}
            for name, events in read_scalars(self.run.tensorboard).items()
            if not any(name.startswith(trial.path.name) for trial in pruned)
        }

    def attempts(self) -> list[AttemptDir]:
        """Every attempt of every trial."""
        return [attempt for trial in self.run.trials() for attempt in trial.attempts()]

    def launches(self) -> int:
        """How many attempts were launched."""
        events = [event for trial in self.run.trials() for event in read_journal(trial.control)]
        return sum(isinstance(event, Launched) for event in events)

    def shims(self) -> list[int]:
        """The shims whose workers run."""
        pids = [owner_of(attempt).get("pid") for attempt in self.attempts() if is_held(attempt.lease)]
        return [pid for pid in pids if isinstance(pid, int) and descendants(pid)]

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


_MAY_DIFFER = {"attempts", "seconds", "damaged"}


def _whole_lines(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


# ---- faults and moments -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Scene:
    """A sweep at the moment of the fault. `problems` is what the fault itself finds wrong."""

    site: Site
    orchestrator: subprocess.Popen[bytes]
    random: random.Random
    pipe: int = -1
    problems: list[str] = field(default_factory=list)

    def shim(self) -> int | None:
        """The shim of a running worker, as soon as there is one; None where the sweep ends before."""
        while not (shims := self.site.shims()):
            if self.orchestrator.poll() is not None:
                return None
            time.sleep(0.01)
        return self.random.choice(shims)

    def end_of_first_call(self) -> int | None:
        """The exit code of the call that was disturbed; None, and a problem, where it does not end."""
        try:
            return self.orchestrator.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        row: of the fault matrix.
        survived: the first call goes on to the end by itself, with code 0.
        drawn: where it does, it leaves TensorBoard complete.
        taken_over: attempts that run when the fault is over are not superseded.
        stdout: where the first call prints: to a file, a pipe or a terminal; `Scene.pipe` is the other end.
        at_once: the moment is the very beginning.
        slow: a single run takes long (it imports torch), so fewer are made.
    """

    name: str
    row: int
    title: str
    inject: Callable[[Scene], None]
    kind: Kind = PLAIN
    survived: bool = True
    drawn: bool = True
    taken_over: bool = False
    stdout: str = "file"
    at_once: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one fault at one moment; `problems` is empty where everything held."""

    fault: str
    seed: int
    moment: str
    problems: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A sweep to which nothing happened."""

    table: list[dict[str, Any]]
    points: dict[str, dict[int, float]]
    lines: int


def trial_of(fault: Fault, seed: int) -> Outcome:
    """The outcome of a fault at the moment that the seed chooses. Leaves neither files nor processes."""
    began = time.monotonic()
    reference = undisturbed(fault.kind)
    chosen = random.Random(f"{fault.name} {seed}")
    length = 0 if fault.at_once else chosen.randint(0, reference.lines)
    delay_s = 0.0 if fault.at_once else chosen.uniform(0, 0.8 if length in (0, reference.lines) else 0.06)
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{fault.name}-{seed}-"))
    site = Site(fault.kind, folder, LAUNCHES[seed % 2])
    try:
        scene = _scene(fault, site, chosen)
        _wait_for(scene, length)
        time.sleep(delay_s)
        problems = _disturbed(fault, scene, reference)
    finally:
        site.clear()
    if not problems:
        shutil.rmtree(folder)
    else:
        problems.append(f"kept in {folder}")
    moment = f"{delay_s:.3f} s after line {length} of {reference.lines}, launch: {LAUNCHES[seed % 2]}"
    seconds = time.monotonic() - began
    return Outcome(fault=fault.name, seed=seed, moment=moment, problems=tuple(problems), seconds=seconds)


def undisturbed(kind: Kind) -> Undisturbed:
    """The sweep to which nothing happened; run once a process."""
    with _once:
        return _undisturbed(kind)


_once = threading.Lock()


@functools.cache
def _undisturbed(kind: Kind) -> Undisturbed:
    with tempfile.TemporaryDirectory(prefix=f"undisturbed-{kind.name}-") as folder:
        site = Site(kind, Path(folder))
        try:
            code = site.start().wait(PATIENCE_S)
            assert (code, site.processes()) == (0, {}), site.said()
            return Undisturbed(table=site.table(), points=site.points(), lines=site.lines())
        finally:
            site.clear()


def _scene(fault: Fault, site: Site, chosen: random.Random) -> Scene:
    if fault.stdout == "file":
        return Scene(site=site, orchestrator=site.start(), random=chosen)
    if fault.stdout == "pipe":
        read_end, write_end = os.pipe()
        errors = chosen.choice([write_end, None])  # `2>&1 | head`, or `| head`
        streams = {"stdout": write_end} | ({"stderr": write_end} if errors is not None else {})
        if errors is None:
            with (site.folder / "errors.txt").open("wb") as kept:
                process = site.start(**streams, stderr=kept)
            site.outputs.append(site.folder / "errors.txt")
        else:
            process = site.start(**streams)
        os.close(write_end)
        return Scene(site=site, orchestrator=process, random=chosen, pipe=read_end)
    master, slave = os.openpty()
    process = site.start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_own_terminal)
    os.close(slave)
    return Scene(site=site, orchestrator=process, random=chosen, pipe=master)


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _wait_for(scene: Scene, length: int) -> None:
    """Until the journals are so long, or the sweep has ended; reads what is printed into a pipe or a terminal."""
    if scene.pipe >= 0:
        os.set_blocking(scene.pipe, False)
    deadline = time.monotonic() + PATIENCE_S
    while scene.orchestrator.poll() is None and scene.site.lines() < length and time.monotonic() < deadline:
        if scene.pipe >= 0:
            with contextlib.suppress(OSError):
                os.read(scene.pipe, 65_536)
        time.sleep(0.01)


def _disturbed(fault: Fault, scene: Scene, reference: Undisturbed) -> list[str]:
    """Inject the fault, go on to the end, and say what does not hold."""
    site = scene.site
    before = site.record()
    fault.inject(scene)
    running = {a.path: read_trial(t).control.attempt for t in site.run.trials() for a in t.attempts() if _runs(a)}
    complete = {t.path: _attempt(site, t.path) for t in site.run.trials() if read_trial(t).state is State.COMPLETE}
    problems = scene.problems
    if fault.survived and not unheard(scene, signal.SIGHUP):
        if (code := scene.end_of_first_call()) != 0:
            problems.append(f"the disturbed call: expected 0, got {'no end' if code is None else code}")
        elif fault.drawn and site.points() != reference.points:
            problems.append("the disturbed call: left TensorBoard incomplete")
    problems += _to_the_end(scene)
    problems += [
        f"{path.parent.parent.name}: attempt {path.name} ran on, and another was launched"
        for path in running
        if fault.taken_over and _attempt(site, path.parent.parent) != int(path.name)
    ]
    problems += [
        f"{path.name}: was complete, and was launched again"
        for path, attempt in complete.items()
        if _attempt(site, path) != attempt
    ]
    return problems + [problem for check in CHECKS for problem in check(site, reference, before)]


def _runs(attempt: AttemptDir) -> bool:
    return is_held(attempt.lease) and bool(owner_of(attempt))


def _attempt(site: Site, trial: Path) -> int:
    return read_trial(site.run.trial(int(trial.name))).control.attempt


def unheard(scene: Scene, number: signal.Signals) -> bool:
    """Whether a signal came before Python had put a handler in place; nothing was started by then."""
    return not scene.site.launches() and scene.end_of_first_call() == -number


def _to_the_end(scene: Scene) -> Iterator[str]:
    """`sweeper run` until all is done: a few calls, each of which ends."""
    site = scene.site
    if scene.end_of_first_call() is None:
        yield f"the disturbed call does not end: {_stacks(scene.orchestrator.pid)}"
        return
    for _ in range(CALLS):
        if site.run.trials() and all(trial["state"] in ("COMPLETE", "PRUNED") for trial in site.table()):
            break
        process = site.start()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            yield "a further call does not end"
            return
    launched = site.launches()
    code = site.start().wait(PATIENCE_S)
    if code != 0:
        yield f"one more call: expected 0, got {code}"
    if site.launches() != launched:
        yield "one more call launched something"


def _stacks(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text() or "it waits"
    return "it is gone"


# ---- what has to hold ---------------------------------------------------------------------------------------------

Check = Callable[[Site, Undisturbed, Mapping[Path, bytes]], Iterator[str]]


def all_is_as_undisturbed(site: Site, reference: Undisturbed, _: Mapping[Path, bytes]) -> Iterator[str]:
    if (table := site.table()) != reference.table:
        wrong = [trial for trial in table if trial not in reference.table]
        yield f"the table: expected {len(reference.table)} trials as undisturbed, got {len(table)}, other: {wrong}"
    if (points := site.points()) != reference.points:
        curves = {name: len(curve) for name, curve in points.items() if curve != reference.points.get(name)}
        yield f"TensorBoard: expected all points, got of those that differ {curves}, of {sorted(points)}"


def no_complete_line_is_lost(site: Site, _: Undisturbed, before: Mapping[Path, bytes]) -> Iterator[str]:
    after = site.record()
    for path, data in before.items():
        if not after.get(path, b"").startswith(data):
            yield f"{path.relative_to(site.folder)}: lines that stood there are gone"


def no_trial_had_two_workers(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    for path in sorted(site.run.path.glob("trials/*/trace-*")):
        lines = [line.split() for line in path.read_text().splitlines()]
        if any(what == "overlap" for _pid, _time, what in lines):
            yield f"{path.parent.name}: a worker found another one at work"
        pids = [pid for pid, _time, _what in lines]
        changes = [pid for i, pid in enumerate(pids) if i == 0 or pids[i - 1] != pid]
        if len(changes) != len(set(changes)):
            yield f"{path.parent.name}: steps of two workers alternate"


def no_process_is_left(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    deadline = time.monotonic() + 5  # who was killed is not gone at once
    while (left := site.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid, command in left.items():
        yield f"process {pid} is left: {command}"


def no_lease_is_held(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    for path in [site.run.lease, site.run.views_lease, *(attempt.lease for attempt in site.attempts())]:
        if is_held(path):
            yield f"{path.relative_to(site.folder)} is held"


def nobody_printed_a_traceback(site: Site, _: Undisturbed, __: Mapping[Path, bytes]) -> Iterator[str]:
    if "Traceback" in (said := site.said()):
        yield f"a traceback: {said[said.index('Traceback') :][-1500:]}"


CHECKS: Sequence[Check] = (
    all_is_as_undisturbed,
    no_complete_line_is_lost,
    no_trial_had_two_workers,
    no_process_is_left,
    no_lease_is_held,
    nobody_printed_a_traceback,
)
