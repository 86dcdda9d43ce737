"""Measure how many failing runs a repair turns into learners, and write docs/repair.md.

    python -m benchmarks.repair --minutes 60 --jobs 2       # goes on with what is not in docs/repair.jsonl yet
    python -m benchmarks.repair --part pbt --jobs 2         # the second part: populations
    python -m benchmarks.repair --part moments --jobs 2     # the third part: the optimizer's moments kept, or not
    python -m benchmarks.repair --write                     # the page, from the lines

Each failing run is repaired by `early_stop: {repair: auto}` in a real sweep, and restarted in three other ways. Each
outcome is appended to docs/repair.jsonl at once, and what is in it is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.repairs import known, moments, population
from benchmarks.repairs.page import text
from benchmarks.repairs.plan import BERT, REPAIR, WAYS, ZOO, FailingRun, bert_runs, in_order, zoo_runs
from benchmarks.repairs.ways import ROOT, Bench, SweepFailed, as_line

LOG, PAGE = ROOT / "docs/repair.jsonl", ROOT / "docs/repair.md"
HEALTHY, PBT, MOMENTS = "healthy", "pbt", moments.PART
FAILING = "failing"
Job = Callable[[Callable[[], bool]], None]
"""Measures, and appends to the log; it asks the function whether the time is over before it starts something new."""


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Return the lines of the log; none if there is no log yet."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@dataclass
class Log:
    """The outcomes so far, to which several threads append.

    Attributes:
        path: the file.
        lines: its lines.
    """

    path: Path
    lines: list[dict[str, Any]]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append an outcome."""
        with self._lock, self.path.open("a") as file:
            file.write(as_line(line))
            self.lines.append(dict(line))

    def about(self, run: FailingRun, way: str) -> dict[str, Any] | None:
        """Return the line about one way to save a run; None if it was not tried yet."""
        wanted = (*run.key, way)
        with self._lock:
            found = (one for one in self.lines if "way" in one)
            return next((x for x in found if (x["task"], x["arm"], x["seed"], x["way"]) == wanted), None)


def main() -> int:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description="Measure how many failing runs a repair turns into learners")
    parts = [FAILING, ZOO, BERT, HEALTHY, PBT, MOMENTS]
    parser.add_argument("--part", choices=parts, default=FAILING, help="what to measure (default: all failing runs)")
    parser.add_argument("--only", metavar="TEXT", help="only runs with this text in their names")
    parser.add_argument("--minutes", type=float, help="start nothing new after this time (default: no limit)")
    parser.add_argument("--jobs", type=int, default=1, help="number of concurrent sweeps (default: 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/repair", help="directory of the runs")
    parser.add_argument("--log", type=Path, default=LOG, help="file with the outcomes (default: docs/repair.jsonl)")
    parser.add_argument("--list", action="store_true", help="list the failing runs and what was measured, and end")
    parser.add_argument("--write", action="store_true", help="write docs/repair.md from the outcomes, and end")
    asked = parser.parse_args()
    log = Log(asked.log, lines_of(asked.log))
    if asked.write:
        PAGE.write_text(text(log.lines))
        print(f"{PAGE}: written from {len(log.lines)} lines")
        return 0
    judge, stalls = known.known(asked.out / "known.json")
    zoo, bert = zoo_runs(judge.truth), bert_runs(stalls)
    plan = {"part": "plan", ZOO: len(zoo), BERT: len(bert), PBT: len([*population.planned()])}
    if plan not in log.lines:
        log.append(plan)
    bench = Bench(folder=asked.out.resolve(), judge=judge, commit=commit())
    runs = {FAILING: [*in_order(zoo, bert)], ZOO: zoo, BERT: bert, MOMENTS: moments.planned(stalls)}
    chosen = runs.get(asked.part, [])
    chosen = [run for run in chosen if asked.only is None or asked.only in run.text]
    if asked.list:
        for run in chosen:
            done = {way: "-" if (one := log.about(run, way)) is None else one["outcome"] for way in WAYS}
            print(f"{run.half:14} {run.text:45} {', '.join(f'{way} {outcome}' for way, outcome in done.items())}")
        return 0
    return measure(work(asked.part, chosen, log, bench), minutes=asked.minutes, jobs=asked.jobs)


def work(part: str, chosen: Sequence[FailingRun], log: Log, bench: Bench) -> Iterator[Job]:
    """Yield what is to be measured still, in order."""
    if part in (FAILING, HEALTHY) and not any(line["part"] == HEALTHY for line in log.lines):
        yield _Healthy(log, bench)
    if part == MOMENTS:
        measured = {(line["arm"], line["seed"]) for line in log.lines if line["part"] == MOMENTS}
        yield from (_Moments(log, bench, run) for run in chosen if (run.arm, run.seed) not in measured)
        return
    for ways in ([REPAIR], [*WAYS]) if part == BERT else ([*WAYS],):  # the first goal needs the repairs alone
        for run in chosen:
            if any(log.about(run, way) is None for way in ways):
                yield _Ways(log, bench, run, ways)
    if part == PBT:
        done = {(line["method"], line["seed"]) for line in log.lines if line["part"] == PBT}
        for method, seed in population.planned():
            if (method, seed) not in done:
                yield _Population(log, bench, method, seed)


@dataclass(frozen=True)
class _Healthy:
    log: Log
    bench: Bench

    def __call__(self, is_over: Callable[[], bool]) -> None:  # noqa: ARG002 - it is short
        for line in [*known.healthy_lines(self.bench.commit)]:
            self.log.append(line)


@dataclass(frozen=True)
class _Ways:
    log: Log
    bench: Bench
    run: FailingRun
    ways: Sequence[str]

    def __call__(self, is_over: Callable[[], bool]) -> None:
        for way in self.ways:
            if is_over():
                return
            if self.log.about(self.run, way) is not None:
                continue
            begun = time.monotonic()
            line = self.bench.measure(self.run, way, self.log.about(self.run, REPAIR))
            self.log.append(line)
            took = time.monotonic() - begun
            print(f"{self.run.text}: {WAYS[way]}: {line['outcome']}, {line['steps']} steps, {took:.0f} s", flush=True)


@dataclass(frozen=True)
class _Population:
    log: Log
    bench: Bench
    method: str
    seed: int

    def __call__(self, is_over: Callable[[], bool]) -> None:  # noqa: ARG002 - a sweep resumes
        line = population.measure(self.bench.folder, self.method, self.seed, self.bench.commit)
        self.log.append(line)
        print(f"{self.method}, seed {self.seed}: {line['score']} after {line['steps']} steps", flush=True)


@dataclass(frozen=True)
class _Moments:
    log: Log
    bench: Bench
    run: FailingRun

    def __call__(self, is_over: Callable[[], bool]) -> None:  # noqa: ARG002 - a sweep resumes
        line = moments.measure(self.bench.folder, self.run, self.bench.commit)
        self.log.append(line)
        ends = [f"{name} {line[name] and line[name]['score']}" for name in ("kept", "fresh")]
        print(f"{self.run.text}: {', '.join(ends)}", flush=True)


def measure(todo: Iterator[Job], *, minutes: float | None, jobs: int) -> int:
    """Do what is to be done in `jobs` threads, and start nothing after so many minutes; return the exit code."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    lock, failures = threading.Lock(), list[str]()

    def is_over() -> bool:
        return end is not None and time.monotonic() >= end

    def worker() -> None:
        while not is_over():
            with lock:
                job = next(todo, None)
            if job is None:
                return
            try:
                job(is_over)
            except SweepFailed as error:
                failures.append(str(error))
                print(error, file=sys.stderr, flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        for one in [pool.submit(worker) for _ in range(jobs)]:
            one.result()
    return 1 if failures else 0


def commit() -> str:
    """Return the commit that is measured; with a plus if tracked files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()  # noqa: S607 - git is on the path

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "sweeper", "benchmarks")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
