"""Pack recorded runs as a fixture: what rules read of them, and nothing of the machine that they ran on.

    python benchmarks/pack.py tests/backtest/verdicts.tar.xz runs/verdicts runs/verdicts-mild
    python benchmarks/pack.py tests/backtest/zoo.tar.xz runs/zoo-a runs/zoo-b --digits 3 --truth runs/zoo-a.json ...

Kept of the trials that ended by themselves: facts without the command, control, events, exits. Left out: output, rows
of per-tensor statistics, checkpoints, provenance, and the names of hosts. With `--digits` measured values are rounded
to so many significant digits and times to seconds of the run, which makes the archive several times smaller; what is
said of these runs is then computed from the archive. `--truth` adds a file that says which runs failed, beside its run.

Runs that were recorded before observations had `weights` get them here, from the rows of per-tensor statistics.
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

from sweeper.record.events import Diagnosed, Event, Metrics, Observation, Started, Watching, encode
from sweeper.record.fold import State
from sweeper.record.journal import read_journal
from sweeper.record.layout import AttemptDir, SweepDir, read_json
from sweeper.record.profile import weights
from sweeper.record.trial import Trial, read_row, read_trial


def main() -> None:
    """Write the archive, and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--digits", type=int, help="significant digits of measured values (default: all)")
    parser.add_argument("--truth", type=Path, nargs="+", default=[], help="a truth file for each run, in their order")
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


def files_of(run: SweepDir, trials: list[Trial], digits: int | None = None) -> Iterator[tuple[str, bytes]]:
    """The files of the archive, by their paths in the run."""
    kept = read_json(run.spec)
    # With its data, so that `sweeper run` can go on with what was unpacked.
    told = {key: kept[key] for key in ("format", "name", "spec", "data")}
    spec: dict[str, Any] = dict(read_json(run.spec)["spec"])  # type: ignore[call-overload]  # it is a mapping
    if spec.get("command"):
        told["spec"] = {**spec, "command": [Path(word).name for word in spec["command"]]}
    yield "spec.json", _json({**told, "provenance": {}})
    began = min((one.time for trial in trials for one in trial.control.launched.values()), default=0.0)
    for trial in trials:
        folder = trial.directory.path.relative_to(run.path)
        yield f"{folder}/trial.json", _json({"format": 1, **asdict(trial.facts), "command": []})
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
    anonymous = (replace(e, host="", pid=0) if isinstance(e, Started) else e for e in kept)
    return b"".join(encode(e if digits is None else _rounded(e, digits, began)) for e in anonymous)


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
