"""A small run, what a stranger may plant in its directory, and every command that opens it, each in a child process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # TensorBoard's own copies of libraries warn of themselves
    import sweeper.backtest.table
    import sweeper.preflight.summary
    import sweeper.search.study
    import sweeper.views.report.page
    import sweeper.views.tensorboard.process
    from sweeper.views.tensorboard import embeddings, server

from sweeper.cli import main
from sweeper.config import SweepSpec
from sweeper.errors import SweeperError
from sweeper.orchestrator.opening import open_run
from sweeper.orchestrator.search.proposals import Proposals
from sweeper.record.events import Checkpointed, Exit, Finished, Launched, Metrics, Started, SweepEnded, SweepStarted
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir
from sweeper.search import search_for

LIMIT_S = 90
"""By the clock: a command that waits for a pipe would never end."""
MEMORY_BYTES = 4 << 30
"""More than any of these commands needs beyond what is loaded, and less than a file without end would take."""
TERABYTE = 1 << 40


def make_run(runs: Path, name: str = "own") -> SweepDir:
    """A run with two trials that are complete, one of which has documents and a checkpoint, and one that waits."""
    spec = SweepSpec.from_json(
        {
            "name": name,
            "method": "grid",
            "metric": {"name": "loss"},
            "command": ["python", "train.py", "${args}"],
            "parameters": {"lr": {"values": [0.1, 0.2, 0.3]}},
        }
    )
    run = open_run(spec, text=b"command: train\n", runs=runs, provenance=dict, say=lambda _: None)
    trials = Proposals(run, search_for(spec)).initial([], [])
    for trial in trials[:2]:
        attempt = trial.directory.attempt(1)
        attempt.path.mkdir(parents=True)
        with JournalWriter(trial.directory.control) as control:
            control.append(Launched(attempt=1, slot="cpu 0", time=1.0))
        values = [Metrics(step=step, values={"loss": 1.0 / (1 + step)}, time=2.0 + step) for step in range(20)]
        saved = Checkpointed(step=19, file="step-000000019.2d711642b726b044.pt", time=30.0)
        with JournalWriter(attempt.events) as events:
            events.extend([Started(pid=1, host="h", attempt=1, time=2.0), *values, saved])
            events.append(Finished(outcome="completed", time=40.0))
        attempt.output.write_text("an epoch\n")
        attempt.exit.write_bytes(encode(Exit(attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0, time=41.0)))
    first = trials[0].directory
    first.checkpoints.mkdir()
    (first.checkpoints / "step-000000019.2d711642b726b044.pt").write_bytes(b"x")
    first.embeddings.mkdir()
    (first.embeddings / "vectors.tsv").write_text("1\t2\n3\t4\n")
    (first.embeddings / "metadata.tsv").write_text("a\nb\n")
    with JournalWriter(run.directory.log) as log:
        log.append(SweepStarted(pid=1, host="h", profile="", slots=("cpu 0",), time=1.0))
        log.append(SweepEnded(outcome="complete", seconds=49.0, time=50.0))
    run.lease.release()
    return run.directory


# ---- what is planted ----------------------------------------------------------------------------------------------

Plant = Callable[[Path, Path], None]
"""Puts something in the place of a path; the second path is a folder outside of the run that nothing may touch."""


def pipe(path: Path, canary: Path) -> None:
    """A pipe that no process writes to."""
    _clear(path)
    os.mkfifo(path)


def endless(path: Path, canary: Path) -> None:
    """A link to a file without end."""
    _clear(path)
    path.symlink_to("/dev/zero")


def link(path: Path, canary: Path) -> None:
    """A link to a file outside."""
    _clear(path)
    path.symlink_to(canary / "precious")


def dangling(path: Path, canary: Path) -> None:
    """A link to a file outside that does not exist: opening it to write would make it."""
    _clear(path)
    path.symlink_to(canary / "new")


def hole(path: Path, canary: Path) -> None:
    """A terabyte that takes no room on the disk."""
    _clear(path)
    path.touch()
    os.truncate(path, TERABYTE)


def hole_behind(path: Path, canary: Path) -> None:
    """What was there, and then a terabyte that takes no room on the disk."""
    os.truncate(path, TERABYTE) if path.is_file() else hole(path, canary)


def socket_file(path: Path, canary: Path) -> None:
    """A socket; its path has to be short, so that it is made elsewhere and moved."""
    _clear(path)
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def directory(path: Path, canary: Path) -> None:
    """A directory in the place of a file."""
    _clear(path)
    path.mkdir()


def link_to_folder(path: Path, canary: Path) -> None:
    """A link to a folder outside that looks like what was there: a command that follows it finds something to do."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, canary / "alike", dirs_exist_ok=True, symlinks=True)
    _clear(path)
    path.symlink_to(canary / "alike")


def nested(path: Path, canary: Path) -> None:
    """Folders in folders, more than Python's calls may be nested."""
    _clear(path)
    path.mkdir()
    with contextlib.chdir(path):
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")


FILES = (
    *("spec.json", "sweep.yaml", "log.jsonl", "search.jsonl", "ended.jsonl", "lease", "views.lease", "views.log"),
    *("trials/0000/trial.json", "trials/0000/control.jsonl", "trials/0000/embeddings/vectors.tsv"),
    *("trials/0000/attempts/1/events.jsonl", "trials/0000/attempts/1/exit.json", "trials/0000/attempts/1/output.log"),
    *("trials/0000/attempts/1/lease", "trials/0000/attempts/1/claim", "trials/0000/attempts/1/layers.f32"),
    *("report/report.html", "report/summary.json", "tensorboard/0000_lr=0.1/.position.json"),
    *("tensorboard/0000_lr=0.1/events.out.tfevents.0000000001.sweeper", "tensorboard/0000_lr=0.1/documents"),
    *("trials/0000/checkpoints/step-000000019.2d711642b726b044.pt", "inbox/1.json"),
)
FOLDERS = (
    *("trials", "trials/0000", "trials/0000/attempts", "trials/0000/attempts/1", "trials/0000/checkpoints"),
    *("trials/0000/embeddings", "trials/0000/best", "tensorboard", "tensorboard/0000_lr=0.1", "report", "inbox"),
    *("tensorboard/0000_lr=0.1/documents", "tensorboard/0000_lr=0.1/mine"),
)
IN_FILES: Sequence[Plant] = (pipe, endless, link, dangling, hole, hole_behind, socket_file, directory)
IN_FOLDERS: Sequence[Plant] = (link_to_folder, link, dangling, pipe, nested)


# ---- the commands -------------------------------------------------------------------------------------------------


def _drawn(run: SweepDir) -> int:
    """What `sweeper tensorboard` does before it listens."""
    code = 0
    with contextlib.suppress(OSError):
        sweeper.views.tensorboard.process.project(run, patience_s=0.2)
    for call in (lambda: embeddings.main([str(run.path)]), lambda: server.check_folder(run)):
        try:
            code = call() or code
        except SweeperError as error:
            sys.stderr.write(f"{error}\n")
            code = 2
    return code


Command = Callable[[SweepDir, SweepDir, Path], int]
"""Called with the run, a run beside it that nothing was planted in, and a folder for what it writes; its exit code."""

COMMANDS: Mapping[str, Command] = {
    "status": lambda run, _, __: main(["status", str(run.path)]),
    "status --json": lambda run, _, __: main(["status", str(run.path), "--json"]),
    "why": lambda run, _, __: main(["why", str(run.path), "0"]),
    "verify": lambda run, _, __: main(["verify", str(run.path)]),
    "logs": lambda run, _, __: main(["logs", str(run.path), "0"]),
    "report": lambda run, _, __: main(["report", str(run.path)]),
    "tensorboard": lambda run, _, __: _drawn(run),
    "compare": lambda run, other, _: main(["compare", str(other.path), str(run.path)]),
    "export": lambda run, _, out: main(
        ["export", str(run.path), "--csv", str(out / "csv"), "--optuna", str(out / "study")]
    ),
    "reproduce": lambda run, _, __: main(["reproduce", str(run.path), "0"]),
    "backtest": lambda run, _, __: main(["backtest", str(run.path)]),
    "calibrate": lambda run, _, __: main(["calibrate", str(run.path), "--alpha", "0.34"]),
    "plan --against": lambda run, other, _: main(
        ["plan", str(other.path.parent / "sweep.yaml"), "--against", str(run.path)]
    ),
    "doctor": lambda run, _, __: main(["doctor", "--runs", str(run.path)]),
    "queue": lambda run, _, __: main(["queue", str(run.path)]),
    "pause": lambda run, _, __: main(["pause", str(run.path), "2"]),
    "stop": lambda run, _, __: main(["stop", str(run.path), "2"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended: its exit code, or the signal that ended it, negative; and everything that it printed."""

    code: int
    printed: str


def in_child(call: Callable[[], int], output: Path) -> Outcome:
    """Run in a child process that is killed after `LIMIT_S`, and may not take more memory than `MEMORY_BYTES`."""
    pid = os.fork()
    if not pid:  # pragma: no cover - the child
        code = 99
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(LIMIT_S)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            sys.stdout = os.fdopen(1, "w", buffering=1)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - for the rest of the process
            warnings.simplefilter("ignore")
            code = call()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        except BaseException:  # noqa: BLE001 - it is printed for the test to see
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return Outcome(code=os.waitstatus_to_exitcode(status), printed=output.read_text(errors="replace")[:20_000])


def make_canary(folder: Path) -> None:
    """A folder outside of the run with everything that a run's own folders have, so that there is much to lose."""
    (folder / "alike" / "documents").mkdir(parents=True)
    (folder / "alike" / "documents" / "vectors.tsv").write_text("1\t2\n")
    (folder / "precious").write_text(json.dumps({"event": "Metrics", "step": 1, "values": {"secret": 4711}}) + "\n")
    checkpoint, event_file = "step-000000001.0000000000000000.pt", "events.out.tfevents.0000000001.sweeper"
    for name in ("1.json", "report.html", checkpoint, event_file):
        (folder / "alike" / name).write_text("precious")


def seen_in(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything in a folder: its mode, when it was changed, and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink() and status.st_size < MEMORY_BYTES
        content = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, content)
    return found


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
