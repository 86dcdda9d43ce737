"""What a large sweep costs: overhead, processor, memory, a proposal, `status` and a resume, at 100 to 10,000 trials.

    python benchmarks/scale.py --save scale-2-cores --plot docs/images/scale.png      (half an hour)

The orchestrator, its record and its views are real, and each case is a process of its own. Only the workers are made
up: one other process appends the events that so many workers would append, to real trial directories, and says which
have ended. The minimum of a sweep is its trials times their seconds over its slots.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import heapq
import json
import math
import os
import resource
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sweeper.config import SweepSpec
from sweeper.executors.executor import Blocker, HasFileno, Slot
from sweeper.orchestrator.loop import Orchestrator
from sweeper.orchestrator.opening import open_run, reopen_run
from sweeper.record.ended import EndedWriter
from sweeper.record.events import (
    Asked,
    Event,
    Exit,
    Finished,
    Launched,
    Lost,
    Metrics,
    Plan,
    Started,
    Told,
)
from sweeper.record.facts import Facts
from sweeper.record.reader import open_trials, read_exit
from sweeper.record.storage.codec import encode, encode_file
from sweeper.record.storage.journal import JournalWriter, read_journal
from sweeper.record.storage.layout import AttemptDir, SweepDir, TrialDir
from sweeper.results.snapshot import Display, SweepView
from sweeper.rules import rules_of
from sweeper.search import Configuration, search_for

if TYPE_CHECKING:
    from rich.table import Table

SIZES = (100, 1_000, 10_000)
WORKERS = (10, 100, 1_000)
SLOTS = 16
TRIAL_S = 1.0
WATCHED_S = 30.0
SETTLED_S = 10.0
POPULATION = 6
"""Configurations in a generation of CMA-ES with two parameters."""
METHODS = ("grid", "random", "qmc", "tpe", "cmaes", "gp")
PROPOSALS = 5
KILLED = 1_000
KINDS = ("proposal", "lying", "workers", "killed", "sweep")
PARTS = ("wall", "processor")
METRIC = "accuracy"


# ---- the sweep ----------------------------------------------------------------------------------------------------


def spec_of(name: str, trials: int, *, method: str = "grid", **more: object) -> SweepSpec:
    """A sweep of so many trials over two parameters."""
    return SweepSpec.from_json(document_of(name, trials, method=method, **more))


def document_of(name: str, trials: int, *, method: str = "grid", **more: object) -> dict[str, object]:
    """Its sweep file."""
    side = max(1, round(trials**0.5))
    grid = {
        "lr": {"values": [1e-5 * (1 + i) for i in range(-(-trials // side))]},
        "seed_of_data": {"values": [*range(side)]},
    }
    continuous = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        "warmup": {"distribution": "uniform", "min": 0.0, "max": 1.0},
    }
    return {
        "name": name,
        "method": "bayes" if method == "tpe" else method,
        "metric": {"name": METRIC, "goal": "maximize"},
        "command": ["true"],
        "parameters": grid if method == "grid" else continuous,
        "run_cap": trials,
        **more,
    }


def appended(attempt: int, steps: Sequence[int], started: float, every_s: float) -> list[Event]:
    """What a worker appends that reports at these steps."""
    events: list[Event] = [
        Started(time=started, pid=1, host="here", attempt=attempt),
        Plan(time=started, total_steps=100),
    ]
    return events + [
        Metrics(time=started + every_s * step, step=step, values={METRIC: 1 - 1 / (2 + step), "loss/train": 1.0})
        for step in steps
    ]


# ---- made-up workers ----------------------------------------------------------------------------------------------


class Simulated:
    """An executor with one process for all workers: it appends what they would, and writes how they ended."""

    def __init__(self, slots: int, seconds: float, every_s: float) -> None:
        self._slots = [Slot(name=f"cpu {i}") for i in range(slots)]
        self._alive: set[Path] = set()
        command = [sys.executable, __file__, "--workers-of", json.dumps({"seconds": seconds, "every_s": every_s})]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin and self.process.stdout  # noqa: S101, PT018 - they were asked for above
        self._told, self._ends = self.process.stdin, self.process.stdout
        self._ends.readline()  # they are ready: what they import first is not the orchestrator's cost
        os.set_blocking(self._ends.fileno(), False)

    def slots(self) -> Sequence[Slot]:
        """All slots."""
        return self._slots

    def reserve(self, trial: TrialDir, attempt: int, slot: Slot) -> bool:  # noqa: ARG002 - an executor's
        """Slots are made up, and shared with no other sweep."""
        return True

    def waits_for(self) -> Sequence[Blocker]:
        """Nothing is in the way of slots that are made up."""
        return ()

    def device_peak_mb(self, attempt: AttemptDir) -> None:
        """There are no devices."""

    def launch(self, trial: TrialDir, attempt: int, command: Sequence[str], slot: Slot) -> None:  # noqa: ARG002 - an executor's
        """Have one more worker."""
        path = trial.attempt(attempt).path
        path.mkdir(parents=True)
        self._alive.add(path)
        self._told.write(f"{path}\n".encode())
        self._told.flush()

    def is_alive(self, attempt: AttemptDir) -> bool:
        """Whether it has not been said to have ended."""
        return attempt.path in self._alive

    def ends(self) -> Sequence[HasFileno]:
        """Readable when workers have ended."""
        with contextlib.suppress(BlockingIOError):
            self._alive -= {Path(line.decode()) for line in (self._ends.read() or b"").split(b"\n") if line}
        return [self._ends]

    def stop(self, attempt: AttemptDir) -> None:
        """No trial is stopped here."""

    kill = dump = stop

    def avoid(self, node: str) -> bool:  # noqa: ARG002 - an executor's
        """There is no other."""
        return False

    def faults(self) -> Mapping[str, str]:
        """Of nothing."""
        return {}

    def troubles(self) -> Sequence[str]:
        """None."""
        return []

    def close(self) -> None:
        """No more workers."""
        self._told.close()


class Known(Simulated):
    """An executor that ends the measurement when it is asked about its slots: by then all states are known."""

    at = processor = 0.0

    def __init__(self, slots: int) -> None:
        """Without workers: nothing is launched before the measurement ends, and their start would be measured too."""
        self._slots = [Slot(name=f"cpu {i}") for i in range(slots)]
        self._alive = set()

    def faults(self) -> Mapping[str, str]:
        """Take the time."""
        self.at, self.processor = time.time(), time.process_time()
        raise Enough


def work(seconds: float, every_s: float) -> None:
    """Be all the workers: an attempt's directory comes a line, and goes back a line once it has ended."""
    due: list[tuple[float, int, str, int]] = []  # when, which, the attempt's directory, the step
    files: dict[str, JournalWriter] = {}
    steps = max(1, round(seconds / every_s))
    begun, rest, open_ended = 0, b"", True
    os.set_blocking(0, False)
    os.write(1, b"\n")
    while open_ended or due:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        if open_ended and select.select([0], [], [], wait)[0]:
            data = os.read(0, 1 << 16)
            open_ended = bool(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                path, begun = line.decode(), begun + 1
                files[path] = JournalWriter(Path(f"{path}/events.jsonl"))
                files[path].extend(appended(1, (), time.time(), every_s))
                heapq.heappush(due, (time.monotonic() + seconds / steps, begun, path, 0))
        elif not open_ended and wait:
            time.sleep(wait)
        ended = b""
        while due and due[0][0] <= time.monotonic():
            moment, which, path, step = heapq.heappop(due)
            event = Metrics(time=time.time(), step=step, values={METRIC: 1 - 1 / (2 + step), "loss/train": 1.0})
            files[path].append(event)
            if step + 1 < steps:
                heapq.heappush(due, (moment + seconds / steps, which, path, step + 1))
                continue
            files[path].append(Finished(time=time.time(), outcome="completed"))
            files.pop(path).close()
            end = Exit(time=time.time(), attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
            Path(f"{path}/.exit").write_bytes(encode_file(end))
            Path(f"{path}/.exit").rename(f"{path}/exit.json")
            ended += path.encode() + b"\n"
        if ended:
            os.write(1, ended)


class Watch(Display):
    """A display that keeps when it was updated first, and what the process had cost at a moment or two."""

    def __init__(self, at_s: Sequence[float] = (), enough: Callable[[SweepView], bool] = lambda _: False) -> None:
        self._at_s = list(at_s)
        self._enough = enough
        self.begun = time.monotonic()
        self.first_s = 0.0
        self.costs: list[tuple[float, float]] = []

    def update(self, sweep: SweepView) -> None:
        """Take the time."""
        now = time.monotonic() - self.begun
        self.first_s = self.first_s or now
        if self._at_s and now >= self._at_s[0]:
            self._at_s.pop(0)
            self.costs.append((now, time.process_time()))
        if self._enough(sweep):
            raise Enough


class Enough(Exception):
    """What was to be measured was measured."""


# ---- cases, each in a process of its own --------------------------------------------------------------------------


def sweep_case(folder: Path, trials: int, method: str, seconds: float) -> dict[str, float]:
    """A whole sweep of short trials."""
    run = open_run(spec_of("short", trials, method=method), text=b"", runs=folder, provenance=dict, say=_silent)
    executor = Simulated(SLOTS, seconds, seconds)
    begin, before = time.monotonic(), time.process_time()
    outcome = Orchestrator(run, executor=executor, search=search_for(run.spec), rules=[], display=Watch()).run()
    wall, processor = time.monotonic() - begin, time.process_time() - before
    executor.process.wait()
    if outcome != "complete":
        raise RuntimeError(outcome)
    launched = [
        event.time for t in run.directory.trials() for event in read_journal(t.control) if isinstance(event, Launched)
    ]
    ended = [end.time for t in run.directory.trials() if (end := read_exit(t.attempt(1))) is not None]
    minimum = seconds * -(-trials // SLOTS)
    taken = max(ended) - min(launched)
    return {
        "overhead": 100 * (taken / minimum - 1),
        "before": min(launched) - (time.time() - (time.monotonic() - begin)),
        "after": wall - (max(ended) - (time.time() - (time.monotonic() - begin))),
        "processor_ms": 1000 * processor / trials,
        "memory": memory(),
        "others_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
    }


def workers_case(folder: Path, workers: int) -> dict[str, float]:
    """So many workers at once, each of which reports once a second; the cost of half a minute of that."""
    spec = spec_of("workers", workers, early_stop={})
    run = open_run(spec, text=b"", runs=folder, provenance=dict, say=_silent)
    show = Watch(at_s=(), enough=lambda _: len(show.costs) > 1)
    executor = Simulated(workers, 1e6, 1.0)

    def started(sweep: SweepView) -> bool:
        if len(show.costs) > 1:
            return True
        if not show._at_s and not show.costs and sweep.slots_in_use == workers:  # noqa: SLF001 - our own
            now = time.monotonic() - show.begun
            show._at_s = [now + SETTLED_S, now + SETTLED_S + WATCHED_S]  # noqa: SLF001
        return False

    show._enough = started  # noqa: SLF001
    with contextlib.suppress(Enough):
        Orchestrator(
            run, executor=executor, search=search_for(spec), rules=rules_of(spec.early_stop), display=show
        ).run()
    executor.process.kill()
    (begin, before), (end, after) = show.costs
    return {"cores": (after - before) / (end - begin), "memory": memory()}


def resume_case(folder: Path, began: float) -> dict[str, float]:
    """Seconds from the start of the process until the state of every trial is known, and the loop asks for the rest."""
    run = reopen_run(SweepDir(folder))
    executor = Known(SLOTS)
    search, rules = search_for(run.spec), rules_of(run.spec.early_stop)
    with contextlib.suppress(Enough):
        Orchestrator(run, executor=executor, search=search, rules=rules, display=Watch()).run()
    return {"wall": executor.at - began, "processor": executor.processor, "memory": memory()}


def proposal_case(method: str, seen: int) -> dict[str, float]:
    """Milliseconds of the processor for a proposal after so many configurations; median."""
    search = search_for(spec_of("proposals", seen + PROPOSALS + 10, method=method))
    made, times = configurations(method, seen), []
    if method == "grid":
        begin = time.process_time()
        count = sum(1 for _ in search.proposals(made[: seen // 2]))
        return {"proposal": 1000 * (time.process_time() - begin) / count}
    for _ in range(PROPOSALS + 1):
        begin = time.process_time()
        proposed = search.propose(made)
        times.append(1000 * (time.process_time() - begin))
        if proposed is None:
            raise RuntimeError(method)
        made.append(proposed)
    return {"proposal": statistics.median(times[1:]), "first": times[0]}


def configurations(method: str, count: int) -> list[Configuration]:
    """So many that were proposed and told, as a sweep's record would have them."""
    search = search_for(spec_of("proposals", count + PROPOSALS + 10, method=method))
    attributes: Mapping[str, Any] = {}
    if method == "qmc":  # what the sampler leaves, from a few real proposals
        few: list[Configuration] = []
        for number in range(20):
            proposed = search.propose(few)
            assert proposed  # noqa: S101
            few.append(
                Configuration(
                    number=number,
                    params=proposed.params,
                    attributes=proposed.attributes,
                    state="COMPLETE",
                    value=0.1,
                    step=1,
                )
            )
        attributes = few[-1].attributes
    points = iter(search.points()) if method == "grid" else None  # type: ignore[attr-defined]
    made: list[Configuration] = []
    for number in range(count):
        u, v = (number * 0.618034) % 1, (number * 0.754877) % 1
        params = next(points) if points is not None else {"lr": 10 ** (-5 + 4 * u), "warmup": v}
        if method == "cmaes":  # as if each generation had been told when the first of the next was proposed
            told = [[one.number, one.value] for one in made[-POPULATION:]] if number % POPULATION == 0 else []
            attributes = {"cma:generation": number // POPULATION, **({"cma:told": told} if told else {})}
        made.append(
            Configuration(number=number, params=params, attributes=attributes, state="COMPLETE", value=u * v, step=1)
        )
    return made


# ---- runs that lie there ------------------------------------------------------------------------------------------


def forged(folder: Path, trials: int) -> SweepDir:
    """A run of trials that have all ended but for one that waits, as sixteen slots would have left it."""
    spec = spec_of("forged", trials)
    run = open_run(spec, text=b"", runs=folder, provenance=dict, say=_silent)
    directory, moment = run.directory, 1e9
    points = list(search_for(spec).points())  # type: ignore[attr-defined]
    with directory.search.open("wb") as search:
        for number, params in enumerate(points[:trials]):
            trial = directory.trial(number)
            forge(trial, params, moment + number, ended=number < trials - 1)
            search.write(encode(Asked(time=moment, configuration=number, params=params)))
            if number < trials - 1:
                search.write(encode(Told(time=moment, configuration=number, state="COMPLETE", value=0.5, step=3)))
    run.lease.release()
    return directory


def forge(trial: TrialDir, params: Mapping[str, object], moment: float, *, ended: bool) -> None:
    """A trial, written without waiting for the disk."""
    facts = Facts(
        number=trial.number,
        configuration=trial.number,
        seed=0,
        params=params,
        shown=params,
        command=["true", *(f"--{name}={value}" for name, value in params.items())],
        metric=METRIC,
        maximize=True,
    )
    attempt = trial.attempt(1)
    (attempt.path if ended else trial.path).mkdir(parents=True)
    trial.facts.write_text(json.dumps({"format": 1, **asdict(facts)}, indent=1))
    if ended:
        with JournalWriter(trial.control) as control, JournalWriter(attempt.events) as events:
            control.append(Launched(time=moment, attempt=1, slot="cpu 0"))
            events.extend([*appended(1, range(4), moment, 0.25), Finished(time=moment + 1, outcome="completed")])
        end = Exit(time=moment + 1, attempt=1, code=0, signal=None, cause="", peak_memory_mb=1.0)
        attempt.exit.write_bytes(encode_file(end))


def timed(*command: str) -> tuple[float, float]:
    """Seconds of a command, by the wall and of the processor, the least of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(command)
        times.append((time.perf_counter() - begin, used.ru_utime + used.ru_stime))
    return min(wall for wall, _ in times), min(processor for _, processor in times)


def memory() -> float:
    """MB of this process at its highest; what getrusage(2) says includes the process that it was forked from."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _silent(_text: str) -> None:
    """Say nothing."""


# ---- all of it ----------------------------------------------------------------------------------------------------

CASES: Mapping[str, Callable[..., dict[str, float]]] = {
    "sweep": sweep_case,
    "workers": workers_case,
    "resume": resume_case,
    "proposal": proposal_case,
}


def case(name: str, *arguments: object) -> dict[str, float]:
    """A case, measured in a process of its own."""
    command = [sys.executable, __file__, "--case", json.dumps([name, *arguments], default=str)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(name, *arguments, {key: round(value, 4) for key, value in figures.items()}, flush=True)
    return figures


def place() -> Path:
    """A directory that is gone once all is measured.

    Not before: for some minutes after many files were removed, ext4 was seen to make others much more slowly.
    """
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


Found = dict[str, dict[int, dict[str, float]]]


def measure(sizes: Sequence[int], workers: Sequence[int], kinds: Sequence[str]) -> Found:
    """All figures, by kind and size."""
    from benchmarks.safety import killed  # it imports torch, which no case has to

    found: Found = {kind: {} for kind in kinds}
    for size in sizes:
        if "proposal" in kinds:
            found["proposal"][size] = {method: case("proposal", method, size)["proposal"] for method in METHODS}
        if "lying" in kinds:
            found["lying"][size] = lying(place(), size)
    for count in workers if "workers" in kinds else ():
        found["workers"][count] = case("workers", place(), count)
    if "killed" in kinds:
        folder, spec = place(), spec_of("killed", KILLED, early_stop={})
        points = list(search_for(spec).points())  # type: ignore[attr-defined]
        killed(SweepDir(folder / "killed"), KILLED, spec.to_json(), points)
        command = taken_over(folder)
        found["killed"] = {KILLED: {**case("resume", folder / "killed", time.time()), "command": command}}
    for size in sizes if "sweep" in kinds else ():
        found["sweep"][size] = case("sweep", place(), size, "grid", TRIAL_S)
    return found


def taken_over(folder: Path) -> float:
    """Seconds from the start of `sweeper run` until it writes down which trial is lost, the first of those killed."""
    run, file, runs = SweepDir(folder / "killed"), folder / "killed.yaml", folder / "runs"
    shutil.copytree(run.path, runs / "killed")
    told = SweepDir(runs / "killed").trial(0).control
    file.write_text(yaml.safe_dump(document_of("killed", KILLED, early_stop={})))
    os.sync()  # what was just made is not the command's to write
    began = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper.cli", "run", str(file), "--runs", str(runs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (lost := [event.time for event in read_journal(told) if isinstance(event, Lost)]):
        if process.poll() is not None:
            raise RuntimeError("sweeper run ended")
        time.sleep(0.01)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    process.wait()
    print("taken over", round(lost[0] - began, 4), flush=True)
    return lost[0] - began


def lying(folder: Path, size: int) -> dict[str, float]:
    """What it takes to know a run that lies there: by `status`, and by `sweeper run`."""
    run = forged(folder, size)
    unknown = case("resume", run.path, time.time())
    resumed = case("resume", run.path, time.time()) if remembered(run) else unknown
    status = timed("-m", "sweeper.cli", "status", str(run.path))
    as_json = timed("-m", "sweeper.cli", "status", "--json", str(run.path))
    figures = {"status": status, "json": as_json, "nothing": timed("-m", "sweeper.cli", "--help")}
    return {
        **{f"{name} {part}": value for name, pair in figures.items() for part, value in zip(PARTS, pair, strict=True)},
        **{f"resume {part}": resumed[part] for part in PARTS},
        **{f"from nothing {part}": unknown[part] for part in PARTS},
    }


def remembered(run: SweepDir) -> bool:
    """Have it remembered what has ended, as an orchestrator would have done in passing."""
    readers, _ = open_trials(run)
    for reader in readers:
        reader.poll()
    EndedWriter(run, anew=True).append(reader for reader in readers if reader.trial.state.ended)
    return run.ended.exists()


# ---- tables and plot ----------------------------------------------------------------------------------------------

Row = tuple[str, str, str, float | None]
"""Kind, figure, what it is called, and its goal at the largest size."""
ROWS: Mapping[str, Sequence[Row]] = {
    f"Whole sweeps of one-second trials on {SLOTS} simulated slots, by trials": (
        ("sweep", "overhead", "overhead over the minimum, %", 5),
        ("sweep", "before", "before the first launch, s", None),
        ("sweep", "processor_ms", "processor of the orchestrator, ms a trial", None),
        ("sweep", "others_s", "processor of workers and views, s", None),
        ("sweep", "memory", "memory of the orchestrator, MB", None),
    ),
    "Workers at once that report once a second, by workers": (
        ("workers", "cores", "cores of the orchestrator", 1),
        ("workers", "memory", "memory of the orchestrator, MB", 500),
    ),
    "Knowing a sweep that lies there, seconds, by trials": (
        ("lying", "status wall", "status, wall", 1),
        ("lying", "status processor", "status, processor", None),
        ("lying", "json wall", "status --json, wall", None),
        ("lying", "json processor", "status --json, processor", None),
        ("lying", "resume wall", "run until all states are known, wall", 5),
        ("lying", "resume processor", "run until all states are known, processor", None),
        ("lying", "from nothing wall", "the same, nothing remembered, wall", None),
        ("lying", "from nothing processor", "the same, nothing remembered, processor", None),
        ("lying", "nothing wall", "for comparison: sweeper --help, wall", None),
        ("lying", "nothing processor", "for comparison: sweeper --help, processor", None),
    ),
    "Killed with all their workers, 68 looks each: run until all states are known, seconds": (
        ("killed", "wall", "wall", 2),
        ("killed", "processor", "processor", None),
        ("killed", "command", "the command itself, until the first is written down as lost, wall", 2),
    ),
    "A proposal, ms of the processor, by configurations seen (of a grid: all that are left, over their number)": tuple(
        ("proposal", method, method, 20 if method in ("grid", "random", "qmc") else None) for method in METHODS
    ),
}


def tables(found: Found) -> list[Table]:
    """A table a question, a column a size."""
    from rich.table import Table

    made = []
    for title, rows in ROWS.items():
        sizes = list(found.get(rows[0][0], {}))
        if not sizes:
            continue
        table = Table(title=title, title_justify="left")
        for head in ("", *(f"{size:,}" for size in sizes), "goal"):
            table.add_column(head, justify="right" if head else "left")
        for kind, figure, name, goal in rows:
            values = [found[kind][size].get(figure, math.nan) for size in sizes]
            table.add_row(name, *(f"{value:.3g}" for value in values), "" if goal is None else f"{goal:g}")
        made.append(table)
    return made


PLOTTED = (
    ("sweep", "processor_ms", "processor of the orchestrator, a whole sweep", "s", 1e-3, True),
    ("sweep", "memory", "memory, a whole sweep", "MB", 1.0, False),
    ("workers", "cores", "processor, workers that report once a second", "cores", 1.0, False),
    ("lying", "status processor", "sweeper status, processor", "s", 1.0, False),
    ("lying", "resume processor", "resume, processor", "s", 1.0, False),
    ("proposal", "", "a proposal", "ms", 1.0, False),
)
"""Kind, figure, title, unit, factor, and whether it is a trial's share."""


def plot(found: Found, path: Path) -> None:
    """The growth of each figure on two logarithms, with a dashed line of what is linear in the size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    for axes, (kind, name, title, unit, factor, share) in zip(figure.subplots(2, 3).flat, PLOTTED, strict=True):
        sizes = list(found.get(kind, {}))
        if not sizes:
            axes.set_axis_off()
            continue
        for one in [name] if name else METHODS:
            values = [factor * found[kind][size][one] * (size if share else 1) for size in sizes]
            axes.plot(sizes, values, "o-", label=one if not name else None)
            if sizes and name:
                axes.plot(sizes, [values[0] * size / sizes[0] for size in sizes], "--", color="grey", label="linear")
        axes.set(title=title, xscale="log", yscale="log", ylabel=unit)
        axes.set_xlabel("workers" if kind == "workers" else "configurations seen" if kind == "proposal" else "trials")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print the tables, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--save", metavar="NAME", help="keep the tables as benchmarks/results/NAME.md")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--figures", type=Path, metavar="JSON", help="kept there, and added to those that are there")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--workers-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.workers_of:
        work(**json.loads(given.workers_of))
    elif given.case:
        name, *arguments = json.loads(given.case)
        if name != "proposal":
            arguments[0] = Path(arguments[0])
        print(json.dumps(CASES[name](*arguments)))
    else:
        report(given)


def report(given: argparse.Namespace) -> None:
    """Measure what is asked for, beside the figures that are kept."""
    from benchmarks.machine import description, present

    machine = description()
    found: Found = {kind: {} for kind in KINDS}
    kept = json.loads(given.figures.read_text()) if given.figures is not None and given.figures.exists() else {}
    for source in (kept, measure(given.sizes, given.workers, given.kinds)):
        for kind, by_size in source.items():
            found[kind] |= {int(size): figures for size, figures in by_size.items()}
    found = {kind: dict(sorted(by_size.items())) for kind, by_size in found.items()}
    if given.figures is not None:
        given.figures.write_text(json.dumps(found))
    present("What a large sweep costs", "python benchmarks/scale.py", machine, tables(found), save=given.save)
    if given.plot is not None:
        plot(found, given.plot)


if __name__ == "__main__":
    main()
