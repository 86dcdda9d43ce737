"""What `sweeper ui` costs: the first answer, the first paint, and an update, at 100 to 10,000 trials.

    python benchmarks/ui.py --save ui-2-cores      (a few minutes)

The record is made up and the server is real: `sweeper ui` as a process of its own, asked over HTTP and by Chromium, if
there is one. Before each update, a line is appended to the record of 16 running trials, as their workers would.
"""

from __future__ import annotations

import argparse
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
from sweeper.record.events import Diagnosed, Event, Exit, Finished, Launched, Metrics, Plan, Started, StopRequested
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.record.storage.lease import acquire
from sweeper.search import Configuration
from sweeper.service.open_run import FRESH_S

SIZES = (100, 1_000, 10_000)
UPDATES, PAINTS = 20, 5
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
    return run.directory


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
    """Measure one size. The values are milliseconds, but for `reading`, which is seconds."""
    run = make_record(folder, trials)
    lease = acquire(run.lease, holder="benchmarks/ui.py")  # the sweep runs
    assert lease is not None  # noqa: S101 - nothing else knows the folder
    command = [sys.executable, "-m", "sweeper.cli", "ui", str(run.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        address, _, token = process.stdout.readline().strip().partition("/?token=")
        try:
            with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=600) as client:
                page, live = f"{address}/runs/{run.path.name}", f"{address}/runs/{run.path.name}/live"
                begun = time.monotonic()
                first = client.get(page)
                waits = first.elapsed.total_seconds()
                while "refresh" in client.get(page).headers:
                    time.sleep(0.2)
                found = {"waiting page": 1000 * waits, "reading": time.monotonic() - begun}
                found["page"] = statistics.median(_server_ms(client.get(page)) for _ in range(updates))
                found |= _updates(client, run, live, updates)
                found |= _painted(f"{address}/?token={token}", page)
        finally:
            process.terminate()
            lease.release()
    return found


def _updates(client: httpx.Client, run: SweepDir, live: str, updates: int) -> dict[str, float]:
    """Append to the running trials, and fetch what has changed, again and again."""
    trials = [TrialDir(path.path) for path in run.trials()][-SLOTS:]
    times: list[float] = []
    processor: list[float] = []
    seen = ""
    for update in range(updates):
        for trial in trials:
            with JournalWriter(trial.attempt(1).events) as journal:
                step = STEPS // 2 + update
                journal.append(Metrics(time=time.time(), step=step, values={METRIC: 0.5 + update / 1000}))
        time.sleep(FRESH_S + 0.05)
        answer = client.get(live, params={"seen": seen})
        seen = str(answer.json()["revision"])
        times.append(_server_ms(answer))
        processor.append(_server_ms(answer, "cpu"))
    return {
        "update": statistics.median(times),
        "slowest update": max(times),
        "processor": statistics.median(processor),
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


def table(results: Mapping[int, Mapping[str, float]]) -> Table:
    """Return the results as a table."""
    made = Table(title="What the page of a sweep costs")
    heads = (
        "trials",
        "first answer",
        "first reading",
        "page",
        "update",
        "slowest update",
        "of the processor",
        "first paint",
    )
    for head in heads:
        made.add_column(head, justify="right")
    for trials, found in results.items():
        paint = f"{found['first paint']:.0f} ms" if "first paint" in found else "-"
        times = [f"{found[name]:.0f} ms" for name in ("page", "update", "slowest update", "processor")]
        made.add_row(f"{trials:,}", f"{found['waiting page']:.0f} ms", f"{found['reading']:.1f} s", *times, paint)
    made.caption = (
        "First answer: of a server that has just started, which says that it reads. First reading: until the page is "
        f"there. Page, update: time on the server, median of {UPDATES}, and of its processor. First paint: in "
        f"Chromium, median of {PAINTS}."
    )
    return made


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
    present("What the live page costs", " ".join(["python", *sys.argv]), machine, [table(results)], save=options.save)


if __name__ == "__main__":
    main()
