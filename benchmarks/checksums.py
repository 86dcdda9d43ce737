"""What the checksums of the record cost: reading a trial, and appending an event, each with and without them.

    python benchmarks/checksums.py

Both sides run in one process, by turns, on the same events. The time is the processor's, of this process alone. The
ratio is that of the medians over all turns.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from unittest import mock

from sweeper.record.events import FORMAT, Event, Finished, Launched, Metrics, Observation, Plan, Started
from sweeper.record.facts import Facts
from sweeper.record.reader import read_trial
from sweeper.record.storage import journal
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import TrialDir, write_json

CHECKSUM = re.compile(rb',"crc":"[0-9a-f]{8}"}')


def events_of(steps: int) -> list[Event]:
    """What a watched script appends: its metrics at each step, and an observation at each tenth."""
    events: list[Event] = [Started(time=1.5e9, pid=1, host="here", attempt=1), Plan(total_steps=steps)]
    for step in range(steps):
        at = 1.5e9 + 0.1234567 * step
        events.append(
            Metrics(time=at, step=step, values={"loss/train": 1 / (2 + step), "accuracy": 1 - 1 / (2 + step)})
        )
        if step % 10 == 0:
            events.append(
                Observation(
                    time=at,
                    step=step,
                    row=step // 10,
                    reach=0.1234567,
                    update_ratio=1.234e-3,
                    learning_rate=3e-4,
                    gradient_norm=1.234567,
                    activations={"dead": 0.01, "saturated": 0.02},
                    weights={"norm": 12.345},
                    row_crc=123456789,
                )
            )
    return [*events, Finished(outcome="completed")]


def make_trial(folder: Path, number: int, events: list[Event], *, summed: bool) -> TrialDir:
    """A trial with these events; without checksums, as format 2 has it."""
    trial = TrialDir(folder / f"{number:04d}")
    trial.attempt(1).path.mkdir(parents=True)
    facts = Facts(
        number=number, configuration=0, seed=0, params={}, shown={}, command=[], metric="accuracy", maximize=True
    )
    write_json(trial.facts, {**asdict(facts), "format": FORMAT if summed else 2})
    with JournalWriter(trial.control) as control, JournalWriter(trial.attempt(1).events) as own:
        control.append(Launched(attempt=1, slot="cpu 0"))
        own.extend(events)
    if not summed:
        for path in (trial.control, trial.attempt(1).events):
            path.write_bytes(CHECKSUM.sub(b"}", path.read_bytes()))
    return trial


def compared(with_: Callable[[], object], without: Callable[[], object], turns: int) -> tuple[float, float]:
    """Return the median processor time of each side in seconds, over so many turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns):
        for side in (0, 1) if turn % 2 else (1, 0):
            begun = time.process_time()
            (with_, without)[side]()
            times[side].append(time.process_time() - begun)
    return statistics.median(times[0]), statistics.median(times[1])


def appending(folder: Path, events: list[Event], *, summed: bool) -> Callable[[], None]:
    """Return the function that appends events one by one."""
    path = folder / f"appended-{summed}.jsonl"

    def append() -> None:
        path.unlink(missing_ok=True)
        bare = mock.patch.object(journal, "summed", lambda line, before: (line, before))
        with nullcontext() if summed else bare, JournalWriter(path) as own:
            for event in events:
                own.append(event)

    return append


def main() -> None:
    """Print both ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2_000, metavar="N", help="steps of a trial (default: %(default)s)")
    parser.add_argument(
        "--turns", type=int, default=60, metavar="N", help="readings of each kind (default: %(default)s)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, events = Path(name), events_of(given.steps)
        summed, bare = (make_trial(folder, n, events, summed=n == 0) for n in (0, 1))
        pairs = {
            "reading a trial": (lambda: read_trial(summed), lambda: read_trial(bare)),
            "appending events": (appending(folder, events, summed=True), appending(folder, events, summed=False)),
        }
        for what, (with_, without) in pairs.items():
            one, other = compared(with_, without, given.turns)
            each = 1e6 / len(events)
            print(f"{what}: {one * each:.2f} us an event with checksums, {other * each:.2f} without: {one / other:.3f}")


if __name__ == "__main__":
    main()
