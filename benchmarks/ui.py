"""What `sweeper ui` costs: the first answer, the first paint, and an update, at 100 to 10,000 trials.

    python benchmarks/ui.py --save ui-2-cores      (a few minutes)

The record is made up and the server is real: `sweeper ui` as a process of its own, asked over HTTP and by Chromium, if
there is one. Before each update, a line is appended to the record of 16 running trials, as their workers would.
`ended.jsonl` is there, as after every sweep; without it, the first reading is measured once more.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from rich.table import Table

from benchmarks.machine import description, present
from sweeper.config import SweepSpec
from sweeper.orchestrator.opening import make_trials, open_run
from sweeper.record.decision import Decision
from sweeper.record.ended import EndedWriter
from sweeper.record.events import Diagnosed, Event, Exit, Finished, Launched, Metrics, Plan, Started, StopRequested
from sweeper.record.reader import open_trials
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.storage.lease import acquire
from sweeper.search import Configuration
from sweeper.service.open_run import FRESH_S

SIZES = (100, 1_000, 10_000)
UPDATES, PAINTS = 20, 5
PATIENCE_MS = 120_000
METRIC = "accuracy"
SLOTS = 16
STEPS, EVERY = 400, 20
SECONDS = 60.0
"""Seconds of a trial."""


def make_record(folder: Path, trials: int, *, running: int = SLOTS) -> SweepDir:
    """Make up a sweep of so many trials, of which the last run."""
    document = {
        "name": "many",
        "method": "random",
        "metric": {"name": METRIC, "goal": "maximize"},
        "command": ["true"],
        "parameters": {
            "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
            "warmup": {"distribution": "uniform", "min": 0.0, "max": 0.8},
            "dropout": {"values": [0.0, 0.1, 0.2, 0.3]},
            "width": {"values": [64, 128, 256, 512]},
            "optimizer": {"values": ["adamw", "lion", "sgd"]},
        },
        "run_cap": trials,
    }
    run = open_run(SweepSpec.from_json(document), text=b"", runs=folder, provenance=dict, say=lambda *_: None)
    chance = random.Random(0)
    wanted = [(Configuration(number=number, params=_params(chance)), 0) for number in range(trials)]
    make_trials(run, wanted, 0)
    begun = time.time() - SECONDS * (trials / SLOTS + 1)
    for number in range(trials):
        state = "runs" if number >= trials - running else chance.choices(("ends", "stopped", "fails"), (80, 17, 3))[0]
        _play(run.directory.trial(number), begun + SECONDS * (number // SLOTS), state, wanted[number][0], chance)
    run.lease.release()
    _digest(run.directory)
    return run.directory


def _digest(run: SweepDir) -> None:
    """Write `ended.jsonl`, as the orchestrator does as trials end."""
    readers, _ = open_trials(run)
    for reader in readers:
        reader.poll()
    EndedWriter(run, anew=True).append(reader for reader in readers if reader.trial.state.ended)


def _params(chance: random.Random) -> dict[str, object]:
    return {
        "lr": float(f"{10 ** chance.uniform(-5, -1):.3g}"),
        "warmup": round(chance.uniform(0, 0.8), 3),
        "dropout": chance.choice([0.0, 0.1, 0.2, 0.3]),
        "width": chance.choice([64, 128, 256, 512]),
        "optimizer": chance.choice(["adamw", "lion", "sgd"]),
    }


def _play(trial: TrialDir, begun: float, state: str, configuration: Configuration, chance: random.Random) -> None:
    """Write what the orchestrator, the worker and the shim of one trial leave."""
    attempt = trial.attempt(1)
    attempt.path.mkdir(parents=True)
    until = {"ends": STEPS, "runs": STEPS // 2, "stopped": 120, "fails": 60}[state]
    end = begun + SECONDS * until / STEPS
    control: list[Event] = [Launched(time=begun, attempt=1, slot=f"cpu {trial.number % SLOTS}")]
    events: list[Event] = [
        Started(time=begun, pid=1, host="here", attempt=1),
        Plan(time=begun, total_steps=STEPS),
        *_reported(begun, until, configuration, chance, learns=state != "stopped"),
    ]
    if state == "stopped":
        reason = "The loss has not fallen for 100 steps: 2.30 at step 20, 2.30 at step 120."
        evidence = {"statistic": "loss/train", "median": 2.3, "threshold": 0.02}
        diagnosed = Diagnosed(
            time=end,
            attempt=1,
            diagnosis="not_learning",
            since=20,
            step=120,
            holds=True,
            reason=reason,
            evidence=evidence,
        )
        decision = Decision(rule="not_learning", step=120, reason=reason, evidence=evidence)
        control += [diagnosed, StopRequested(time=end, attempt=1, cause="pruned", decision=decision)]
    if state != "runs":
        outcome = {"ends": "completed", "stopped": "stopped", "fails": "failed"}[state]
        events.append(Finished(time=end, outcome=outcome, error="CUDA out of memory" if state == "fails" else ""))
        code, cause = (1, "error") if state == "fails" else (0, "completed")
        left = Exit(time=end, attempt=1, code=code, signal=None, cause=cause, peak_memory_mb=900.0)
        attempt.exit.write_bytes(encode_file(left))
    for path, lines in ((trial.control, control), (attempt.events, events)):
        with JournalWriter(path) as journal:
            journal.extend(lines)


def _reported(
    begun: float, until: int, configuration: Configuration, chance: random.Random, *, learns: bool
) -> Iterator[Metrics]:
    rate = float(str(configuration.params["lr"]))
    goal = 0.95 - 0.08 * abs(len(f"{rate:.0e}") - 5) - 2.0 * abs(rate - 1e-3) + chance.uniform(-0.05, 0.02)
    for step in range(EVERY - 1, until, EVERY):
        part = min(1.0, (step + 1) / STEPS) ** 0.5
        accuracy = max(0.05, 0.1 + (goal - 0.1) * part + chance.uniform(-0.01, 0.01)) if learns else 0.1
        loss = 2.3 - 2.0 * part * max(0.1, goal) + chance.uniform(-0.05, 0.05) if learns else 2.3
        yield Metrics(time=begun + SECONDS * step / STEPS, step=step, values={METRIC: accuracy, "loss/train": loss})


# ---- measuring


def measured(folder: Path, trials: int, updates: int) -> dict[str, float]:
    """Measure one size. The values are milliseconds, but for the readings, which are seconds."""
    run = make_record(folder, trials)
    lease = acquire(run.lease, holder="benchmarks/ui.py")  # the sweep runs
    assert lease is not None  # noqa: S101 - nothing else knows the folder
    page = f"/runs/{run.path.name}"
    with _served(run) as (client, entry):
        first, found = client.get(page), {}
        found["waiting page"] = 1000 * first.elapsed.total_seconds()
        found["reading"] = _reading(client, page)
        found["page"] = statistics.median(_server_ms(client.get(page)) for _ in range(updates))
        found |= _updates(client, run, page, updates)
        found |= _painted(entry, f"{entry.partition('/?token=')[0]}{page}")
        lease.release()
        found["after the end"] = _updates(client, run, page, updates)["processor"]
    run.ended.unlink()
    with _served(run) as (client, _):
        found["reading of records"] = _reading(client, page)
    return found


@contextlib.contextmanager
def _served(run: SweepDir) -> Iterator[tuple[httpx.Client, str]]:
    """Start the server, and yield a client of it, and the address with the token."""
    command = [sys.executable, "-m", "sweeper.cli", "ui", str(run.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        entry = process.stdout.readline().strip()
        address, _, token = entry.partition("/?token=")
        try:
            with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=600) as client:
                yield client, entry
        finally:
            process.terminate()


def _reading(client: httpx.Client, page: str) -> float:
    """Return how many seconds it takes until the page is there."""
    begun = time.monotonic()
    while "refresh" in client.get(page).headers:
        time.sleep(0.1)
    return time.monotonic() - begun


def _updates(client: httpx.Client, run: SweepDir, page: str, updates: int) -> dict[str, float]:
    """Append to the running trials, and fetch what has changed, again and again."""
    trials = [TrialDir(path.path) for path in run.trials()][-SLOTS:]
    times: list[float] = []
    processor: list[float] = []
    charts: list[float] = []
    seen = ""
    for update in range(updates):
        for trial in trials:
            with JournalWriter(trial.attempt(1).events) as journal:
                step = STEPS // 2 + update
                journal.append(Metrics(time=time.time(), step=step, values={METRIC: 0.5 + update / 1000}))
        time.sleep(FRESH_S + 0.05)
        answer = client.get(f"{page}/live", params={"seen": seen})
        seen = str(answer.json()["revision"])
        times.append(_server_ms(answer))
        processor.append(_server_ms(answer, "cpu"))
        drawn = (client.get(f"{page}/data/{chart}") for chart in ("parallel", "slots"))
        charts.append(sum(_server_ms(answer, "cpu") for answer in drawn))
    return {
        "update": statistics.median(times),
        "slowest update": max(times),
        "processor": statistics.median(processor),
        "charts": statistics.median(charts),
    }


def _painted(entry: str, page: str) -> dict[str, float]:
    """Return the first paint in Chromium; nothing if there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.goto(entry)
        tab.wait_for_url("**/runs/**")
        paints = []
        for _ in range(PAINTS):
            tab.goto(page)
            tab.locator("#curves .main-svg").first.wait_for()
            paints.append(float(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")))
        browser.close()
    return {"first paint": statistics.median(paints)}


def _server_ms(answer: httpx.Response, kind: str = "total") -> float:
    """Return the time that an answer took on the server, as it says itself: `total`, or `cpu` of the processor."""
    parts = dict(part.strip().split(";dur=") for part in answer.headers["server-timing"].split(","))
    return float(parts[kind])


def tables(results: Mapping[int, Mapping[str, float]]) -> list[Table]:
    """Return the results as two tables."""
    opening = Table(title="Opening the page of a sweep", caption=OPENING)
    update = Table(title="An update, on the server", caption=UPDATE)
    for made, heads in (
        (opening, ("trials", "first answer", "first reading", "without ended.jsonl", "page", "first paint")),
        (update, ("trials", "median", "slowest", "of the processor", "after the end", "charts")),
    ):
        for head in heads:
            made.add_column(head, justify="right")
    for trials, found in results.items():
        reads = [f"{found[name]:.1f} s" for name in ("reading", "reading of records")]
        paint = f"{found['first paint']:.0f} ms" if "first paint" in found else "-"
        opening.add_row(f"{trials:,}", f"{found['waiting page']:.0f} ms", *reads, f"{found['page']:.0f} ms", paint)
        names = ("update", "slowest update", "processor", "after the end", "charts")
        update.add_row(f"{trials:,}", *(f"{found[name]:.0f} ms" for name in names))
    return [opening, update]


OPENING = (
    "First answer: of a server that has just started, which says that it reads. First reading: until the page is "
    f"there, with ended.jsonl and without it. Page: time on the server. First paint: in Chromium, median of {PAINTS}."
)
UPDATE = (
    f"Median of {UPDATES}; of the processor while the sweep runs, and after its end. Charts: of the processor, for "
    "parameters together and slots, which a page asks for every ten and five seconds at most."
)


def main() -> None:
    """Measure each size, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of trials")
    parser.add_argument("--save", metavar="NAME", help="keep the table as benchmarks/results/NAME.md")
    options = parser.parse_args()
    machine, results = description(), {}
    for trials in options.trials:
        with tempfile.TemporaryDirectory() as folder:
            results[trials] = measured(Path(folder), trials, UPDATES)
        print(f"{trials}: {results[trials]}", flush=True)
    present("What the live page costs", " ".join(["python", *sys.argv]), machine, tables(results), save=options.save)


if __name__ == "__main__":
    main()
