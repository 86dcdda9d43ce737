"""Pack recorded runs as a test fixture, with the values that rules read and without traces of the machine.

    python benchmarks/pack.py tests/backtest/verdicts.tar.xz runs/verdicts runs/verdicts-mild
    python benchmarks/pack.py tests/backtest/zoo.tar.xz runs/zoo-a runs/zoo-b --digits 3 --truth runs/zoo-a.json ...

For trials that ended by themselves, the archive has the facts without the command, and the files of control, events
and exits. It does not have output, per-tensor statistics, checkpoints, provenance and host names. `--digits` rounds
values to that many significant digits, and times to seconds, which makes the archive several times smaller; published
results are computed from the archive. `--truth` adds a file of known outcomes for each run.

Runs that were recorded before observations had `weights` get them from their per-tensor statistics.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweeper.record.events import Diagnosed, Event, Exit, Metrics, Observation, Started, Watching
from sweeper.record.reader import read_row, read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir, read_json
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.depth_profile import weights

UNSUMMED = 2
"""The format of what is packed: the last without checksums, because values are rounded and files left out."""


def main() -> None:
    """Write the archive, and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--digits", type=int, help="significant digits of measured values (default: all)")
    help_ = "a file of known outcomes for each run, in their order"
    parser.add_argument("--truth", type=Path, nargs="+", default=[], help=help_)
    options = parser.parse_args()
    packed = 0
    with tarfile.open(options.archive, "w:xz") as archive:
        for run in map(SweepDir, options.runs):
            trials = [trial for trial in map(read_trial, run.trials()) if trial.state is State.COMPLETE]
            packed += len(trials)
            truths = dict(zip(options.runs, options.truth, strict=False))
            beside = [("truth.json", truths[run.path].read_bytes())] if run.path in truths else []
            for name, data in [*files_of(run, trials, options.digits), *beside]:
                entry = tarfile.TarInfo(f"{run.path.name}/{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    print(f"{options.archive}: {packed} trials, {options.archive.stat().st_size / 1000:.0f} kB")


def files_of(run: SweepDir, trials: list[TrialRecord], digits: int | None = None) -> Iterator[tuple[str, bytes]]:
    """The files of the archive, by their paths in the run."""
    kept = read_json(run.spec)
    # With its data, so that `sweeper run` can go on with what was unpacked.
    told = {"format": UNSUMMED, **{key: kept[key] for key in ("name", "spec", "data")}}
    spec: dict[str, Any] = dict(read_json(run.spec)["spec"])  # type: ignore[call-overload]  # it is a mapping
    if spec.get("command"):
        told["spec"] = {**spec, "command": [Path(word).name for word in spec["command"]]}
    yield "spec.json", _json({**told, "provenance": {}})
    began = min((attempt.launch_time for trial in trials for attempt in trial.attempts), default=0.0)
    for trial in trials:
        folder = trial.directory.path.relative_to(run.path)
        yield f"{folder}/trial.json", _json({**asdict(trial.facts), "format": UNSUMMED, "command": []})
        yield f"{folder}/control.jsonl", _lines(read_journal(trial.directory.control), digits, began)
        for attempt in trial.directory.attempts():
            place = attempt.path.relative_to(run.path)
            yield f"{place}/events.jsonl", _lines(list(with_weights(attempt)), digits, began)
            if attempt.exit.exists():
                yield f"{place}/exit.json", _lines(read_journal(attempt.exit), digits, began)


def with_weights(attempt: AttemptDir) -> Iterator[Event]:
    """Yield the events of an attempt; an observation without `weights` gets those that its row allows."""
    watching: Watching | None = None
    for event in read_journal(attempt.events):
        watching = event if isinstance(event, Watching) else watching
        if isinstance(event, Observation) and not event.weights and watching is not None:
            yield _with_weights(event, watching, read_row(attempt, event.row, watching.row_width))
        else:
            yield event


def _with_weights(event: Observation, watching: Watching, row: Sequence[float] | None) -> Observation:
    if row is None:
        return event
    width = len(watching.statistics)
    columns = {name: row[: watching.of_tensors][start::width] for start, name in enumerate(watching.statistics)}
    norms = columns["grad_norm"]
    # In the row a gradient that is missing and one that is not finite look alike.
    missing = [math.isnan(norm) and event.not_finite == 0 for norm in norms]
    return replace(event, weights=weights(columns, watching, missing))


def _lines(events: list[Event], digits: int | None, began: float) -> bytes:
    kept = (event for event in events if not (digits and isinstance(event, Diagnosed)))
    return b"".join(encode(e if digits is None else _rounded(e, digits, began)) for e in map(_anonymous, kept))


def _anonymous(event: Event) -> Event:
    """The event without the process that wrote it, and without what is known about files that are not packed."""
    match event:
        case Started():
            return replace(event, host="", pid=0)
        case Observation():
            return replace(event, row_crc=-1)
        case Exit():
            return replace(event, events_bytes=-1)
    return event


def _rounded(event: Event, digits: int, began: float) -> Event:
    """The event with its measured values rounded, and whole seconds since the run began for its time."""
    if isinstance(event, Metrics):
        event = replace(event, values={name: _to(value, digits) for name, value in event.values.items()})
    elif isinstance(event, Observation):
        names = ("reach", "update_ratio", "learning_rate", "gradient_norm", "gradient_zero")
        rounded: dict[str, Any] = {name: _to(getattr(event, name), digits) for name in names}
        event = replace(event, **rounded)
        event = replace(event, activations={name: _to(value, digits) for name, value in event.activations.items()})
        event = replace(event, weights={name: _to(value, digits) for name, value in event.weights.items()})
    return replace(event, time=float(round(event.time - began)))


def _to(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


if __name__ == "__main__":
    main()
