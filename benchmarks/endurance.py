"""Whether a sweep may run unattended for long: what the orchestrator and the views hold over 2 million events.

    python benchmarks/endurance.py --save endurance-2-cores      (ten minutes)

The orchestrator, its shims, the record and the views are real. The workers are made up: each appends what a training
script would, at some thousand events a second, so that the events of a day come within minutes. A process that holds
more memory, descriptors, inotify watches or threads the longer it runs would not last; the last column of a table says
whether it does.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

EVERY = 100_000
MOST_GROWTH_MB = 1.0
"""Megabytes that a process may grow by with 100,000 events, after the first quarter: its trials are remembered."""
LOOK_EVERY_S = 0.2

WORKER = """
import json, os, sys, time, struct
from pathlib import Path
attempt = Path(os.environ["SWEEPER_TRIAL_DIR"], "attempts", os.environ["SWEEPER_ATTEMPT"])
events, per_s = int(sys.argv[1]), float(sys.argv[2])
lr = float(sys.argv[3].partition("=")[2])
names = ["a.weight", "b.weight", "c.weight"]
statistics = ["weight_norm", "grad_norm", "grad_mean", "grad_std", "grad_max", "grad_zero", "update_norm"]
statistics += ["update_ratio"]
def line(kind, **body):
    return json.dumps({"event": kind, "time": time.time(), **body}).encode() + b"\\n"
with open(attempt / "events.jsonl", "ab", buffering=0) as log, open(attempt / "layers.f32", "ab", buffering=0) as rows:
    log.write(line("Started", pid=os.getpid(), host="here", attempt=int(os.environ["SWEEPER_ATTEMPT"]), format=2)
              + line("Plan", total_steps=events)
              + line("Watching", layers=["a", "b", "c"], tensors=names, sizes=[9, 9, 9], layer_of=[0, 1, 2],
                     statistics=statistics, every=10))
    begun, done, row = time.monotonic(), 0, 0
    while done < events:
        part, count = [], min(50, events - done)
        for step in range(done, done + count):
            loss = 2.3 / (1 + lr * step) + 0.01 * (step * 7919 % 13)
            if step % 10 == 0:
                rows.write(struct.pack("<24f", *([1.0, 0.1, 0.01, 0.02, 0.1, 0.0, 1e-3, 1e-3] * 3)))
                part.append(line("Observation", step=step, row=row, reach=0.8, update_ratio=1e-3, learning_rate=lr,
                                 reaches=0, gradient_norm=0.2, gradient_zero=0.0, missing=0, not_finite=0))
                row += 1
            elif step % 100 == 5:
                part.append(line("Metrics", step=step, values={"accuracy": 1 - loss / 3, "loss/test": loss}))
            else:
                part.append(line("Metrics", step=step, values={"loss/train": loss}))
        log.write(b"".join(part))
        done += count
        print(f"step {done}: loss {loss}")
        time.sleep(max(0.0, begun + done / per_s - time.monotonic()))
    log.write(line("Finished", outcome="completed"))
Path(attempt.parent.parent, "count").write_text(str(events))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds at a moment."""

    memory_mb: float
    descriptors: int
    watches: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Held | None:
        """Return what a process holds; None if it is gone."""
        process = Path(f"/proc/{pid}")
        try:
            pages = int((process / "statm").read_text().split()[1])
            watches = sum(
                info.read_text().count("inotify wd") for info in (process / "fdinfo").iterdir() if info.exists()
            )
            return cls(
                memory_mb=pages * 4096 / 1e6,
                descriptors=len(list((process / "fd").iterdir())),
                watches=watches,
                threads=len(list((process / "task").iterdir())),
            )
        except OSError:
            return None


def sweep_of(trials: int, events: int, per_s: float) -> dict[str, object]:
    """Return the sweep file: so many trials with so many events each."""
    return {
        "name": "endurance",
        "command": [sys.executable, "worker.py", str(events), str(per_s), "${args}"],
        "method": "grid",
        "metric": {"name": "accuracy", "goal": "maximize"},
        "metrics": {"printed": {"output": r"step (?P<step>\d+): loss (\S+)"}},
        "parameters": {"lr": {"values": [1e-4 * (1 + i) for i in range(trials)]}},
        "early_stop": {"mode": "observe"},
        "figures": {"every_steps": max(1, events // 4)},
        "output_limit_mb": 1,
    }


def views_of(pid: int) -> int | None:
    """Return the pid of the views process that an orchestrator has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        for child in map(int, children.read_text().split()):
            if b"sweeper.views" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    except OSError:
        pass
    return None


def events_in(run: Path) -> int:
    """Return how many events are on the record, from the sizes of its files: a line has about 100 bytes."""
    return sum(path.stat().st_size for path in run.glob("trials/*/attempts/*/events.jsonl")) // BYTES_OF_LINE


BYTES_OF_LINE = 112
Row = tuple[int, float, Held, Held | None]


def measured(folder: Path, wanted: int, workers: int, trials: int, per_s: float) -> list[Row]:
    """Run the sweep, and return what its processes held each time that `EVERY` events were recorded."""
    events = -(-wanted // trials)
    (folder / "worker.py").write_text(WORKER)
    (folder / "sweep.yaml").write_text(json.dumps(sweep_of(trials, events, per_s)))
    begun = time.monotonic()
    with (folder / "said").open("wb") as said:
        command = [sys.executable, "-m", "sweeper.cli", "run", "sweep.yaml", "--workers", str(workers)]
        orchestrator = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
    rows: list[Row] = []
    while orchestrator.poll() is None:
        time.sleep(LOOK_EVERY_S)
        count = events_in(folder / "runs/endurance")
        views = views_of(orchestrator.pid)
        if count >= EVERY * (1 + len(rows)) and (held := Held.by(orchestrator.pid)) is not None:
            rows.append((count, time.monotonic() - begun, held, None if views is None else Held.by(views)))
    if orchestrator.returncode:
        sys.stderr.write((folder / "said").read_text()[-2000:])
    log = Path(folder, "runs/endurance/trials/0000/attempts/1/output.log")
    sys.stdout.write(f"{trials} trials of {events:,} events; the output of one takes {log.stat().st_blocks // 2} KiB\n")
    return rows


def table_of(title: str, rows: Sequence[tuple[int, float, Held]]) -> tuple[Table, bool]:
    """Return a table of what a process held, and whether it stays the same."""
    table = Table(title=title, title_justify="left")
    for head in ("events", "seconds", "memory, MB", "descriptors", "inotify watches", "threads"):
        table.add_column(head, justify="right")
    for count, seconds, held in rows:
        cells = (f"{held.memory_mb:.0f}", held.descriptors, held.watches, held.threads)
        table.add_row(f"{count:,}", f"{seconds:.0f}", *map(str, cells))
    settled = rows[len(rows) // 4 :]
    (first, _, before), (last, _, after) = settled[0], settled[-1]
    growth = (after.memory_mb - before.memory_mb) / max(1, last - first) * EVERY
    most = [max(getattr(held, name) for *_, held in settled) for name in ("descriptors", "watches", "threads")]
    least = [min(getattr(held, name) for *_, held in settled) for name in ("descriptors", "watches", "threads")]
    table.add_row(
        "growth",
        "",
        f"{growth:+.2f} per {EVERY:,}",
        *(f"{low} to {high}" for low, high in zip(least, most, strict=True)),
    )
    return table, growth <= MOST_GROWTH_MB


def main() -> int:
    """Run the benchmark; the exit code says whether everything stays flat."""
    from benchmarks.machine import description, present

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--per-s", type=float, default=1500.0, help="events of a worker per second")
    parser.add_argument("--save")
    options = parser.parse_args()
    machine = description()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(Path(folder), options.events, options.workers, options.trials, options.per_s)
    orchestrator, flat = table_of("The orchestrator", [(count, at, held) for count, at, held, _ in rows])
    views, views_flat = table_of("The views process", [(count, at, held) for count, at, _, held in rows if held])
    command = "python benchmarks/endurance.py"
    present("What a sweep holds over 2 million events", command, machine, [orchestrator, views], save=options.save)
    return 0 if flat and views_flat else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
