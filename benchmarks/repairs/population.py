"""The second part: a population on the task of `experiments/warmup.yaml`, beside the grid and ASHA at equal steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.repairs.plan import BERT_FIXED, BERT_STEPS
from benchmarks.repairs.ways import Json, run_sweep, steps_of
from sweeper.record.trial import State, TrialRecord

METHODS = {"pbt": "population-based training", "grid": "the grid", "asha": "random search with ASHA"}
SEEDS = (0, 1, 2)
METRIC = "accuracy/test"
SIZE, TURNS = 4, 5
STEPS = SIZE * BERT_STEPS
"""Steps of the grid of two learning rates and two warmups, and of a population of four."""
GRID: Json = {"lr": {"values": [3e-4, 8e-4]}, "warmup_fraction": {"values": [0.1, 0.7]}}
RANGES: Json = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.2e-3},
    "warmup_fraction": {"min": 0.1, "max": 0.7},
}


def planned() -> Iterator[tuple[str, int]]:
    """Yield each method with each seed, the methods side by side."""
    for seed in SEEDS:
        for method in METHODS:
            yield method, seed


def sweep_of(method: str, seed: int, most: int) -> Json:
    """Return the sweep file of a method.

    Args:
        method: one of `METHODS`.
        seed: the seed of the trials; it is in the sweep's name, from which the search is seeded.
        most: the number of trials that ASHA may start.
    """
    fixed = {"clip": 1.0, "weight_decay": 0, **BERT_FIXED}
    return {
        "name": f"warmup-{method}-{seed}",
        "trainer": "text-classification",
        "method": {"pbt": "pbt", "grid": "grid", "asha": "random"}[method],
        "metric": {"name": METRIC, "goal": "maximize", "at": "last"},
        "seeds": [seed],
        "parameters": {
            **(GRID if method == "grid" else RANGES),
            **{name: {"value": value} for name, value in fixed.items()},
        },
        "dataset": ["20newsgroups", "synthetic-topics"],
        "tokenizer": ["bert-base-uncased", "wordpiece"],
        **({"population_size": SIZE, "population": {"every_steps": BERT_STEPS // TURNS, "turns": TURNS}}
           if method == "pbt" else {}),
        **({"run_cap": most} if method == "asha" else {}),
        "early_stop": {"rules": {"pbt": ["auto"], "grid": [], "asha": [{"successive_halving": {}}]}[method]},
        "resources": {"cpus": 1},
        "figures": {"every_steps": 1_000_000, "most_runs": 1},
    }  # fmt: skip


def measure(folder: Path, method: str, seed: int, commit: str) -> Json:
    """Return the line about a method: its steps, and the best last accuracy of a trial that reached the last step."""
    most = SIZE
    place = folder / f"warmup-{method}-{seed}"
    trials = run_sweep(place, sweep_of(method, seed, most))
    while method == "asha" and sum(steps_of(trial) for trial in trials) < STEPS:
        most += 1  # a run_cap may be raised, and the sweep resumes
        trials = run_sweep(place, sweep_of(method, seed, most))
    best = max((trial for trial in trials if _is_whole(trial)), key=_score, default=None)
    found: dict[str, Any] = {} if best is None else {n: best.facts.params[n] for n in ("lr", "warmup_fraction")}
    return {
        "part": "pbt",
        "method": method,
        "seed": seed,
        "score": None if best is None else _score(best),
        "best": found,
        "steps": sum(steps_of(trial) for trial in trials),
        "trials": len(trials),
        "stopped": _stopped(trials),
        "commit": commit,
    }


def _is_whole(trial: TrialRecord) -> bool:
    return trial.state is State.COMPLETE and trial.step >= BERT_STEPS - 1 and math.isfinite(_score(trial))


def _score(trial: TrialRecord) -> float:
    series = trial.progress.metrics.get(METRIC)
    return math.nan if series is None else series.last


def _stopped(trials: Sequence[TrialRecord]) -> int:
    return sum(trial.state is State.PRUNED for trial in trials)
