"""Run a training script without a sweep: one trial in a new directory, with the record that a sweep would have."""

from __future__ import annotations

import itertools
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from sweeper.record.causes import cause_of_exit
from sweeper.record.events import FORMAT, Exit, Launched
from sweeper.record.facts import Facts
from sweeper.record.storage.claim import claim
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import (
    AttemptDir,
    SweepDir,
    TrialDir,
    new_name,
    unwritable,
    write_atomically,
    write_json,
)


def new_run(
    runs: Path, *, script: Path, params: Mapping[str, object]
) -> tuple[TrialDir, AttemptDir, Facts, Callable[[int], None]]:
    """Create a run with one trial and one attempt.

    Args:
        runs: the folder of all runs.
        script: the training script, after which the run is named.
        params: the parameters to record: the defaults of the script.

    Returns:
        The directory of the trial, that of the attempt, the trial's facts, and a function that records the exit code.

    Raises:
        Unwritable: `runs` cannot be written.
    """
    sweep = _made(runs, new_name(script.stem))
    directory = sweep.trial(0)
    facts = _facts([sys.executable, *sys.argv], params)
    write_json(sweep.spec, {"format": FORMAT, "name": sweep.path.name, "spec": {}, "provenance": {}})
    write_json(directory.facts, {**asdict(facts), "format": FORMAT})
    with JournalWriter(directory.control) as control:
        control.append(Launched(time=time.time(), attempt=1, slot="alone"), sync=True)
    attempt = directory.attempt(1)
    lease = claim(attempt)

    def record_exit(code: int) -> None:
        try:
            write_exit(attempt, code=code, signal=None, cause=cause_of_exit(code=code, signal=None))
        finally:
            lease.release()

    return directory, attempt, facts, record_exit


def _made(runs: Path, name: str) -> SweepDir:
    """Return a new run, made with the directory of its trial. A number is added for a second run in one second."""
    for number in itertools.count(1):
        sweep = SweepDir(runs / (name if number == 1 else f"{name}-{number}"))
        try:
            sweep.trial(0).path.mkdir(parents=True)
        except OSError as error:
            if sweep.trial(0).path.exists():
                continue
            raise unwritable(sweep.trial(0).path.absolute(), error) from error
        return sweep
    raise AssertionError  # there is always another number


def run_of_other_rank(
    runs: Path, *, script: Path, params: Mapping[str, object]
) -> tuple[TrialDir, AttemptDir, Facts, Callable[[int], None]]:
    """Return what `new_run` returns, for a rank other than the first. It writes nothing: only rank 0 knows the run."""
    directory = SweepDir(runs / (script.stem or "run")).trial(0)
    return directory, directory.attempt(1), _facts([], params), lambda _: None


def _facts(command: list[str], params: Mapping[str, object]) -> Facts:
    return Facts(
        number=0, configuration=0, seed=0, params=dict(params), shown={}, command=command, metric="", maximize=True
    )


def write_exit(  # noqa: PLR0913 - one argument for each part of an end
    attempt: AttemptDir,
    *,
    code: int | None,
    signal: int | None,
    cause: str,
    peak_device_mb: float | None = None,
    asked: bool = False,
) -> None:
    """Write how an attempt ended, with the peak memory of this process's children, or its own if it has none.

    Args:
        attempt: the directory of the attempt.
        code: the exit code; None if a signal ended the worker.
        signal: the signal that ended the worker, or None.
        cause: the cause of the end, as in `record.causes`; empty if there is none.
        peak_device_mb: peak memory on the CUDA device in MiB, if known.
        asked: whether this process was asked to end the worker.

    Raises:
        Unwritable: the record cannot be written.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    peak = children or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exit_ = Exit(
        time=time.time(),
        attempt=attempt.number,
        code=code,
        signal=signal,
        cause=cause,
        peak_device_mb=peak_device_mb,
        peak_memory_mb=round(peak / 1024, 1),  # ru_maxrss is in KiB on Linux
        events_bytes=attempt.events.stat().st_size if attempt.events.exists() else 0,
        asked=asked,
    )
    write_atomically(attempt.exit, encode_file(exit_))
