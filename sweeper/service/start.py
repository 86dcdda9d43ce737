"""Start a sweep as a process of its own, which outlives the caller: the command line itself, without a terminal."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from sweeper.errors import RunBusy, UsageError
from sweeper.executors.gpus.devices import cuda_devices
from sweeper.record.interpreter import isolated_python
from sweeper.record.storage import confined
from sweeper.record.storage.inbox import person
from sweeper.record.storage.layout import SweepDir
from sweeper.record.storage.lease import holder_of, is_held
from sweeper.results.wording import plain
from sweeper.service.answers.machine import Started
from sweeper.service.machine import SweepFile, loaded

START_S, LOOK_EVERY_S = 120.0, 0.05
"""How long a start may take, with the preparation of data, until it counts as begun; and how often it is looked at."""
LOG = "run.log"
"""What a sweep that was started so prints, in its directory."""
MOST_LINES = 40


def run(
    source: SweepFile,
    *,
    workers: int | None = None,
    share: bool = False,
    by: str = "",
    because: str = "",
) -> Started:
    """Start `sweeper run` as a process of its own, and return once it runs the sweep.

    Args:
        source: the sweep file.
        workers: number of concurrent trials; by default, as many as fit.
        share: whether to use cores and GPUs that are in use.
        by: who asks; by default, the user of this process.
        because: why.

    Raises:
        UsageError: the file is wrong, or `sweeper run` ended at once; the error has what it printed.
        RunBusy: another process runs the sweep.
    """
    spec = loaded(source, cuda_devices(os.environ), say=lambda _: None)
    directory = SweepDir(source.runs / spec.name)
    if is_held(directory.lease):
        raise RunBusy(f"{directory.path}: {holder_of(directory.lease)} runs this sweep already")
    options = ["--runs", str(source.runs)]
    options += ["--profile", source.profile] if source.profile is not None else []
    options += ["--workers", str(workers)] if workers is not None else []
    options += ["--share"] if share else []
    command = ["run", str(source.file), *source.overrides, *options]
    return started(directory, command, by=by or person(), because=because)


def started(directory: SweepDir, command: list[str], *, by: str, because: str) -> Started:
    """Start a command of sweeper that runs a sweep, and return once it holds the lease of the run.

    Args:
        directory: the run.
        command: the words after `sweeper`.
        by: who asks.
        because: why.

    Raises:
        UsageError: it ended before that; the error has what it printed.
    """
    directory.path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".run-", suffix=".log", dir=directory.path.parent)
    log = Path(name)
    with os.fdopen(handle, "wb") as file:
        process = subprocess.Popen(
            [*isolated_python(), "-m", "sweeper.cli", *command, "--by", by, "--because", because],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    runs = _until_it_runs(process, directory)
    threading.Thread(target=process.wait, daemon=True).start()  # so that it is no zombie once it has ended
    if not runs and process.returncode:
        text = log.read_text(errors="replace")
        log.unlink(missing_ok=True)
        lines = [plain(line) for line in text.splitlines()][-MOST_LINES:]
        raise UsageError("\n".join(lines) or f"`sweeper {command[0]}` ended with exit code {process.returncode}")
    kept = _moved(log, directory)
    return Started(
        run=str(directory.path),
        name=directory.path.name,
        pid=process.pid,
        log=str(kept),
        by=by,
        because=because,
        text=f"pid {process.pid} runs {directory.path}" if runs else f"{directory.path}: nothing was left to run",
    )


def _until_it_runs(process: subprocess.Popen[bytes], directory: SweepDir) -> bool:
    """Wait until a process holds the lease of a run; return whether it does, or will after the wait."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        if is_held(directory.lease) and f"pid {process.pid} " in f"{holder_of(directory.lease)} ":
            return True
        time.sleep(LOOK_EVERY_S)
    return True


def _moved(log: Path, directory: SweepDir) -> Path:
    """Move the log into the directory of the run; the process keeps writing to it."""
    target = directory.path / LOG
    try:
        with confined.folder(directory.path, root=directory.path):
            log.replace(target)
    except OSError:
        return log
    return target
