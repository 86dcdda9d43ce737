"""Synthetic records of trials with known outcomes, and verdicts on them, for the tests of backtests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeper.backtest import Recording, read_recording
from sweeper.backtest.replay import Flag, Verdict, Verdicts
from sweeper.record.decision import Decision
from sweeper.record.events import (
    Event,
    Exit,
    Finished,
    Launched,
    Metrics,
    Observation,
    Plan,
    Started,
    StopRequested,
)
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json

ALIVE, GONE = 0.5, 1e-4
STEPS, EVERY, EPOCH = 640, 10, 128
BEGIN = 1_700_000_000.0
ACCURACY = "accuracy/test"


def rising(end: float, start: float = 0.3) -> list[float]:
    """Return an accuracy at each of five epochs, from `start` at the first."""
    return [start + (end - start) * epoch / 4 for epoch in range(5)]


def events_of(
    accuracy: Sequence[float], *, begin: float = BEGIN, gone_from: int = STEPS, learns: bool = True
) -> list[Event]:
    """Return a loss and an observation at every tenth step, and an evaluation per epoch; a step takes a second."""
    events: list[Event] = [Started(time=begin, pid=1, host="here"), Plan(time=begin, total_steps=STEPS, peak_lr=1e-3)]
    for step in range(STEPS):
        time, values = begin + step + 1, {}
        if step % EVERY == 0:
            reach = ALIVE if step < gone_from else GONE
            look = Observation(
                time=time, step=step, row=step // EVERY, reach=reach, update_ratio=1e-3, learning_rate=1e-3
            )
            events.append(look)
            values["loss/train"] = 1.38 - (step / STEPS if learns and step > 100 else 0.0)
        if step % EPOCH == EPOCH - 1:
            values[ACCURACY] = accuracy[step // EPOCH]
        if values:
            events.append(Metrics(time=time, step=step, values=values))
    return [*events, Finished(time=begin + STEPS, outcome="completed")]


def write_trial(run: Path, number: int, events: Sequence[Event], *, pruned: bool = False, at: str = "best") -> TrialDir:
    trial = SweepDir(run).trial(number)
    attempt = trial.attempt(1)
    attempt.path.mkdir(parents=True)
    facts = {
        "number": number,
        "configuration": number,
        "seed": 0,
        "params": {"lr": 1e-3},
        "shown": {"lr": 10.0**-number},
    }
    write_json(trial.facts, {**facts, "command": [], "metric": ACCURACY, "maximize": True, "at": at})
    begin = events[0].time
    control: list[Event] = [Launched(time=begin, attempt=1, slot="cpu 0")]
    if pruned:
        control.append(
            StopRequested(time=begin, attempt=1, cause="pruned", decision=Decision.read({"rule": "stalled"}))
        )
        events = [event for event in events if not isinstance(event, Finished)]
    append(trial.control, control)
    append(attempt.events, events)
    ended = Exit(time=begin + STEPS, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
    attempt.exit.write_bytes(encode(ended))
    return trial


def append(path: Path, events: Sequence[Event]) -> None:
    with JournalWriter(path) as journal:
        for event in events:
            journal.append(event)


def write_run(path: Path, trials: Sequence[Sequence[Event]]) -> Path:
    path.mkdir(parents=True)
    write_json(path / "spec.json", {"name": path.name})
    for number, events in enumerate(trials):
        write_trial(path, number, events)
    return path


def recording_of(run: Path, **options: Any) -> Recording:
    return read_recording(run, **{"metric": None, "goal": None, **options})


def flagged(step: int, *classes: str) -> Verdict:
    """Return a verdict at a step with these diagnoses."""
    return Verdict(flags=tuple(Flag(rule=name, step=step) for name in classes or ("made",)))


def steps_of(found: Verdicts | str) -> dict[int, int | None]:
    assert not isinstance(found, str), found
    return {number: None if verdict is None else verdict.step for number, verdict in found.items()}
