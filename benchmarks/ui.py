"""What `sweeper ui` costs: the first answer, the first paint, and an update, at 100 to 10,000 trials.

    python benchmarks/ui.py --save ui-2-cores      (a few minutes)

The record is made up and the server is real: `sweeper ui` as a process of its own, asked over HTTP and by Chromium, if
there is one. Before each update, a line is appended to the record of 16 running trials, as their workers would.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

from sweeper.config import SweepSpec
from sweeper.orchestrator.opening import make_trials, open_run
from sweeper.record.decision import Decision
from sweeper.record.events import Diagnosed, Event, Exit, Finished, Launched, Metrics, Plan, Started, StopRequested
from sweeper.record.storage.codec import encode_file
from sweeper.record.storage.journal import JournalWriter
from sweeper.record.storage.layout import SweepDir, TrialDir
from sweeper.search import Configuration

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
