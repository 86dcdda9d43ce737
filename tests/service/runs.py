"""Runs with a few trials, written as an orchestrator and its workers would write them."""

from __future__ import annotations

import array
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeper.record.decision import Decision
from sweeper.record.events import (
    CommandGiven,
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Observation,
    Plan,
    Started,
    StopRequested,
    SweepEnded,
    SweepStarted,
    Watching,
)
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json

LAYERS = ("a", "b", "c", "d")
WATCHING = Watching(
    time=11.0,
    layers=LAYERS,
    tensors=LAYERS,
    sizes=(4, 4, 4, 4),
    layer_of=(0, 1, 2, 3),
    statistics=("grad_norm",),
    every=1,
)


def make_run(folder: Path, name: str = "s") -> SweepDir:
    run = SweepDir(folder / name)
    (run.path / "trials").mkdir(parents=True)
    write_json(run.spec, {"name": name, "spec": {"budget": {"trials": 3}}})
    return run


def make_trial(run: SweepDir, number: int, **params: object) -> TrialDir:
    trial = run.trial(number)
    trial.path.mkdir(parents=True)
    shown: Mapping[str, object] = params or {"lr": number + 1}
    facts = {"number": number, "configuration": number, "seed": 0, "params": {"depth": 2, **shown}, "shown": shown}
    write_json(trial.facts, {**facts, "command": ["python", "train.py"], "metric": "acc", "maximize": True})
    return trial


def launch(trial: TrialDir, values: Sequence[float] = (), *, total: int = 100) -> TrialDir:
    (trial.path / "attempts" / "1").mkdir(parents=True)
    append(trial.control, Launched(time=10.0, attempt=1, slot="cpu 0"))
    append(trial.attempt(1).events, Started(time=11.0, pid=1, host="h"), Plan(time=11.0, total_steps=total))
    report(trial, values)
    return trial


def report(trial: TrialDir, values: Sequence[float], *, first: int = 0) -> None:
    events = [Metrics(time=12.0 + s, step=s, values={"acc": value}) for s, value in enumerate(values, first)]
    append(trial.attempt(1).events, *events)


def observe(trial: TrialDir, steps: Sequence[int]) -> None:
    """Append observations with a gradient of `step + layer` in each tensor of four entries."""
    append(trial.attempt(1).events, WATCHING)
    with trial.attempt(1).layers.open("ab") as file:
        for row, step in enumerate(steps):
            data = array.array("f", [2.0 * (step + layer) for layer in range(4)]).tobytes()
            file.write(data)
            reach = math.nan if step == 0 else 0.5
            observation = Observation(
                time=12.0 + step,
                step=step,
                row=row,
                reach=reach,
                update_ratio=1e-3,
                learning_rate=0.1,
                row_crc=zlib.crc32(data),
            )
            append(trial.attempt(1).events, observation)


def end(trial: TrialDir, *, outcome: str = "completed", code: int = 0) -> TrialDir:
    append(trial.attempt(1).events, Finished(time=50.0, outcome=outcome))
    cause = "error" if code else ""
    exit_ = Exit(time=51.0, attempt=1, code=code, signal=None, cause=cause, peak_memory_mb=1.0)
    trial.attempt(1).exit.write_bytes(encode_file(exit_))
    return trial


def prune(trial: TrialDir, reason: str = "the reach is 0.001") -> TrialDir:
    decision = Decision(rule="stalled", step=4, reason=reason, evidence={"reach": 1e-3})
    append(trial.control, StopRequested(time=40.0, attempt=1, cause="pruned", decision=decision))
    return end(trial, outcome="stopped")


def append(path: Path, *events: Event) -> None:
    with JournalWriter(path) as journal:
        journal.extend(events)


def small(folder: Path, name: str = "s") -> SweepDir:
    """A run of four trials: complete, stopped early, failed, and waiting."""
    run = make_run(folder, name)
    append(
        run.log,
        SweepStarted(time=9.0, pid=1, host="h", profile="", slots=("cpu 0",)),
        CommandGiven(time=20.0, do="pause", trials=(1,), by="an agent", because="its loss is flat"),
    )
    first = launch(make_trial(run, 0), [0.1, 0.5, 0.4])
    observe(first, [0, 1, 2])
    first.attempt(1).output.write_bytes(b"one\ntwo \x1b[31mred\x1b[0m\nthree\n")
    end(first)
    prune(launch(make_trial(run, 1), [0.2]))
    end(launch(make_trial(run, 2), [math.nan]), outcome="failed", code=1)
    make_trial(run, 3)
    append(run.log, SweepEnded(time=60.0, outcome="interrupted", seconds=51.0))
    return run
