"""What it costs that nothing is lost: appending, stopping, and knowing where 1,000 killed trials stood.

    python benchmarks/safety.py --save safety-2-cores

Every figure stands beside a baseline of the same run: the bare system calls, the step that a worker was in, the bytes
of the record read and nothing done with them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from benchmarks.machine import description, present
from sweeper.config import EarlyStop
from sweeper.executors.executor import Slot
from sweeper.executors.local import LocalExecutor
from sweeper.orchestrator.follower import Follower
from sweeper.record.ended import without_garbage_collection
from sweeper.record.events import (
    Checkpointed,
    Event,
    Launched,
    Metrics,
    Noted,
    Observation,
    Plan,
    Started,
    Watching,
)
from sweeper.record.facts import Facts
from sweeper.record.reader import read_exit, read_trial
from sweeper.record.storage.codec import encode
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import SweepDir, TrialDir, write_json
from sweeper.record.trial import State
from sweeper.results.status import read_sweep
from sweeper.rules import rules_of

APPENDS, SYNCS, ROUNDS = 2_000, 20, 7
STOPS, STEP_S = 4, 0.2
STEPS, EVERY = 640, 10
GOAL_APPEND_US, GOAL_STOP_S, GOAL_KNOWN_S = 50.0, STEP_S + 0.5, 2.0

WORKER = """
import time, sweeper
with sweeper.trial() as trial:
    trial.plan(total_steps=10_000)
    for step in range(10_000):
        time.sleep(trial.params["step_s"])
        trial.report({"loss": 1.0}, step=step)
        if trial.should_stop:
            break
    trial.note("left the loop")
"""


def facts(number: int, command: Iterable[str] = ("true",), params: Mapping[str, object] | None = None) -> Facts:
    """A trial of a sweep over learning rates, or over what `params` has."""
    params = params or {"lr": 1e-4 * (number + 1), "step_s": STEP_S}
    return Facts(
        number=number,
        configuration=number,
        seed=0,
        params=params,
        shown={name: value for name, value in params.items() if name != "step_s"},
        command=list(command),
        metric="accuracy",
        maximize=True,
    )


# ---- appending ----------------------------------------------------------------------------------------------------


def seconds_each(call: Callable[[], object], times: int) -> float:
    """Mean seconds of a call."""
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times


def appending(folder: Path) -> Table:
    """Microseconds of an append, beside the same bytes written by the bare system call."""
    event = Metrics(time=time.time(), step=12_345, values={"loss/train": 1.2345678, "learning_rate": 3e-4})
    line = encode(event)
    journal = JournalWriter(folder / "journal")
    bare = os.open(folder / "bare", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def written() -> None:
        os.write(bare, line)

    def synced() -> None:
        os.write(bare, line)
        os.fsync(bare)

    kinds: dict[str, tuple[Callable[[], object], int]] = {
        "os.write": (written, APPENDS),
        "append": (lambda: journal.append(event), APPENDS),
        "os.write, os.fsync": (synced, SYNCS),
        "append, sync": (lambda: journal.append(event, sync=True), SYNCS),
    }
    seen: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):  # in turns, so that whatever else the machine does meets all of them
        for name, (call, times) in kinds.items():
            seen[name].append(1e6 * seconds_each(call, times))
    medians = {name: statistics.median(values) for name, values in seen.items()}
    table = _table(f"Appending {len(line)} bytes; microseconds, median of {ROUNDS} means", "µs", "goal", "ratio")
    goals = {"append": f"{GOAL_APPEND_US:g}"}
    bases = {"append": "os.write", "append, sync": "os.write, os.fsync"}
    for name, value in medians.items():
        base = bases.get(name)
        ratio = f"{value / medians[base]:.2f} x {base}" if base else ""
        table.add_row(name, f"{value:.1f}", goals.get(name, ""), ratio)
    return table


# ---- stopping -----------------------------------------------------------------------------------------------------


def stopping(folder: Path) -> Table:
    """Seconds from a stop asked for, at any moment of a step, to the worker's leaving its loop, and to its end."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script)]
    executor = LocalExecutor([Slot(name="cpu 0", environment={"PYTHONPATH": os.pathsep.join(sys.path)})])
    left, ended = [], []
    for number in range(STOPS):
        trial = made(SweepDir(folder / "stops"), number, command)
        attempt = trial.attempt(1)
        executor.launch(trial, 1, command, executor.slots()[0])
        while not any(isinstance(event, Metrics) and event.step >= 2 for event in read_journal(attempt.events)):
            time.sleep(0.01)
        time.sleep(STEP_S * number / STOPS)
        asked = time.time()
        executor.stop(attempt)
        while (end := read_exit(attempt)) is None:
            time.sleep(0.01)
        left.append(next(e.time for e in read_journal(attempt.events) if isinstance(e, Noted)) - asked)
        ended.append(end.time - asked)
    table = _table(
        f"Stopping a worker with a step of {STEP_S:g} s; seconds, {STOPS} stops", "median", "worst", "goal", "ratio"
    )
    for name, values, goal in (("left its loop", left, f"{GOAL_STOP_S:g}"), ("its exit is on the record", ended, "")):
        ratio = f"{statistics.median(values) / STEP_S:.2f} x a step"
        table.add_row(name, f"{statistics.median(values):.3f}", f"{max(values):.3f}", goal, ratio)
    return table


# ---- knowing ------------------------------------------------------------------------------------------------------


def made(
    run: SweepDir, number: int, command: Iterable[str] = ("true",), params: Mapping[str, object] | None = None
) -> TrialDir:
    """A trial that is about to be launched."""
    trial = run.trial(number)
    trial.attempt(1).path.mkdir(parents=True)
    # As `write_json` writes it, but for the fsync: a thousand of them are not what is measured here.
    trial.facts.write_text(json.dumps({"format": 1, **asdict(facts(number, command, params))}, indent=1))
    with JournalWriter(trial.control) as control:
        control.append(Launched(time=time.time(), attempt=1, slot="cpu 0"))
    return trial


def history() -> list[Event]:
    """What the built-in trainer appends in a trial of 640 steps, up to the moment at which all is killed."""
    layers = tuple(f"bert.encoder.layer.{n}.attention.output.dense" for n in range(24))
    events: list[Event] = [
        Started(pid=1, host="here"),
        Plan(total_steps=STEPS + 1, peak_lr=3e-4),
        Watching(
            layers=layers,
            tensors=tuple(f"{name}.weight" for name in layers),
            sizes=(4096,) * 24,
            layer_of=tuple(range(24)),
            statistics=("grad_norm",),
            every=EVERY,
        ),
    ]
    for step in range(0, STEPS, EVERY):
        events.append(Observation(step=step, row=step // EVERY, reach=0.7, update_ratio=1e-3, learning_rate=3e-4))
        events.append(Metrics(step=step, values={"loss/train": 1.2345678, "gradient/norm": 1.0}))
        if step % 160 == 0:
            events.append(Metrics(step=step, values={"accuracy": 0.5 + step / 10_000, "loss/test": 1.1}))
            events.append(Checkpointed(step=step, file=f"step-{step:09d}.0123456789abcdef.pt"))
    return events


def killed(
    run: SweepDir,
    trials: int,
    spec: Mapping[str, object] | None = None,
    points: Sequence[Mapping[str, object]] | None = None,
) -> int:
    """A run of so many trials, all claimed, none of which left an exit; returns the bytes of their journals."""
    lines = b""
    owner = json.dumps({"pid": 1, "start": 1, "boot": "of a machine that was killed", "host": "here"})
    for number in range(trials):
        attempt = made(run, number, params=points[number] if points else None).attempt(1)
        if not lines:
            with JournalWriter(attempt.events) as events:
                events.extend(history())
            lines = attempt.events.read_bytes()
        attempt.events.write_bytes(lines)
        attempt.lease.touch()
        attempt.claim.write_text(owner)
    write_json(run.spec, {"format": 1, "name": run.path.name, "spec": spec or {}})
    return len(lines) * trials


def knowing(folder: Path, trials: int) -> Table:
    """Seconds from nothing known to the state of every trial, with the operating system's cache warm.

    Each once, in seconds of the processor too: the machine may be shared.
    """
    run = SweepDir(folder / "killed")
    size = killed(run, trials)
    journals = [trial.attempt(1).events for trial in run.trials()]

    def followed(*, judged: bool) -> None:
        """As `sweeper run` does; rules judge those that are found alive, of which here there are none."""
        with without_garbage_collection():
            followers = [Follower.of(trial, rules_of(EarlyStop())) for trial in run.trials()]
            for follower in followers:
                follower.poll()
        known = {(follower.trial.state, follower.trial.progress.step) for follower in followers}
        decisions = {follower.decision for follower in followers} if judged else {None}
        if known != {(State.RUNNING, STEPS - EVERY)} or decisions != {None}:
            raise RuntimeError(f"read something else than what was written: {known}, {decisions}")

    def parsed() -> None:
        for path in journals:
            for line in path.read_bytes().splitlines():
                json.loads(line)

    kinds: dict[str, Callable[[], object]] = {
        "reading the bytes": lambda: [path.read_bytes() for path in journals],
        "json.loads of every line": parsed,
        "all trials folded": lambda: [read_trial(trial) for trial in run.trials()],
        "sweeper status: the record": lambda: read_sweep(run),
        "sweeper run: the record": functools.partial(followed, judged=False),
        "as if all of them lived: rules too": functools.partial(followed, judged=True),
    }
    wall, processor = {}, {}
    for name, call in kinds.items():
        begin = time.process_time()
        wall[name] = seconds_each(call, 1)
        processor[name] = time.process_time() - begin
    table = _table(
        f"Knowing where {trials:,} killed trials stood ({size / 1e6:.1f} MB of events); seconds",
        "wall",
        "processor",
        "goal",
        "ratio",
    )
    base = processor["json.loads of every line"]
    for name, value in processor.items():
        goal = f"{GOAL_KNOWN_S:g}" if name.startswith("sweeper") else ""
        table.add_row(name, f"{wall[name]:.2f}", f"{value:.2f}", goal, f"{value / base:.1f} x json.loads")
    return table


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for head in heads:
        table.add_column(head, justify="right")
    return table


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--save", metavar="NAME", help="keep the tables as benchmarks/results/NAME.md")
    given = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    machine = description()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tables = [appending(folder), stopping(folder), knowing(folder, given.trials)]
    command = "python benchmarks/safety.py" + (f" --save {given.save}" if given.save else "")
    present("What safety costs", command, machine, tables, save=given.save)


if __name__ == "__main__":
    main()
