"""Try to save a failing run: by repair, or by a restart; each in real sweeps of one configuration."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.repairs.plan import BERT, BERT_FIXED, MOST_TRIES, REPAIR, FailingRun, Judge, metric_of
from sweeper.record.derivation import START
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir
from sweeper.record.trial import State, TrialRecord

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS, KEPT = 20, 6
"""Checkpoints in a plan, and how many are kept beside the newest two."""

Json = dict[str, Any]


class SweepFailed(Exception):
    """A sweep ended in another way than by its trials' own ends and by diagnoses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where the sweeps run, and how their ends are judged.

    Attributes:
        folder: the directory of all runs.
        judge: tells learners from failed runs.
        commit: what is measured.
    """

    folder: Path
    judge: Judge
    commit: str

    def measure(self, run: FailingRun, way: str, repaired: Mapping[str, Any] | None = None) -> Json:
        """Return the line about one way to save a run.

        Args:
            run: the failing run.
            way: one of `plan.WAYS`.
            repaired: the line about its repair, which a restart needs: it says when the failing run was stopped.

        Raises:
            SweepFailed: a sweep had another end.
        """
        if way == REPAIR:
            return self._repaired(run)
        if repaired is None:
            raise ValueError("expected the line about the repair first")
        return self._restarted(run, way, repaired)

    def _repaired(self, run: FailingRun) -> Json:
        trials = run_sweep(self.folder / folder_of(run) / REPAIR, sweep_of(run, run.params, run.seed, repair=True))
        first, *others = [told(trial, run) for trial in trials]
        end, reason = trials[-1], ""
        if first["class"] is None:
            reason = "no diagnosis stopped it"
        elif (event := end.newest.not_repaired) is not None:
            reason = event.reason
        return self._line(run, REPAIR, first, others, reason)

    def _restarted(self, run: FailingRun, way: str, repaired: Mapping[str, Any]) -> Json:
        first = repaired["first"]
        if first["class"] is None:  # nothing said that it failed, so nobody restarts it
            return self._line(run, way, first, [], "no diagnosis stopped it")
        tries: list[Json] = []
        for attempt in range(1, max(1, len(repaired["tries"])) + 1):
            params, seed = run.tried(way, attempt)
            folder = self.folder / folder_of(run) / f"{way}-{attempt}"
            (trial,) = run_sweep(folder, sweep_of(run, params, seed, repair=False))
            changed = {name: value for name, value in params.items() if value != run.params[name]}
            tries.append({**told(trial, run), "changes": {**changed, **({"seed": seed} if seed != run.seed else {})}})
            if tries[-1]["class"] is None:
                break
        return self._line(run, way, first, tries, "")

    def _line(self, run: FailingRun, way: str, first: Json, tries: list[Json], reason: str) -> Json:
        last = tries[-1] if tries else first
        outcome = "failed" if last["class"] is not None else self.judge.outcome(run, last["score"])
        steps = first["steps"] + sum(one["steps"] for one in tries)
        return {
            "part": run.part,
            "half": run.half,
            "task": run.task,
            "arm": run.arm,
            "seed": run.seed,
            "group": run.group,
            "by_parameter": run.by_parameter,
            "way": way,
            "plan": run.steps,
            "first": first,
            "tries": tries,
            "outcome": outcome,
            "reason": reason,
            "steps": steps,
            "commit": self.commit,
        }


def told(trial: TrialRecord, run: FailingRun) -> Json:
    """Return what a trial did: its changes, from which step, how many steps, which diagnosis stopped it, its score."""
    derived, stop = trial.facts.derived, trial.newest.stop
    stopped = trial.state is State.PRUNED and stop is not None and stop.decision is not None
    series = trial.progress.metrics.get(metric_of(run))
    score = None if series is None or not math.isfinite(series.last) else series.last
    start = START if derived is None else derived.step
    restored = derived is None or start == START or trial.progress.first_step > start
    decision = stop.decision if stopped and stop is not None else None
    return {
        "changes": {} if derived is None else dict(derived.changes),
        "from": start if start != START else None,
        "steps": trial.step - (start if restored else START),
        "class": None if decision is None else decision.rule,
        "at": None if decision is None else decision.step,
        "score": score,
        **({} if restored else {"restored": False}),
        **({} if derived is None else {"reason": derived.reason}),
    }


# ---- sweeps ----------------------------------------------------------------------------------------------------------


def sweep_of(run: FailingRun, params: Mapping[str, float], seed: int, *, repair: bool) -> Json:
    """Return the sweep file of one configuration."""
    is_bert = run.part == BERT
    fixed: Mapping[str, object] = BERT_FIXED if is_bert else {"case": f"{run.task}/{run.arm}"}
    data = {"dataset": ["20newsgroups", "synthetic-topics"], "tokenizer": ["bert-base-uncased", "wordpiece"]}
    stop: Json = {"repair": "auto", "max_repairs": MOST_TRIES} if repair else {"rules": "auto"}
    return {
        "name": "repair",
        "trainer": "text-classification" if is_bert else "benchmarks.zoo.repaired:train",
        "launch": "spawn" if is_bert else "preload",
        "method": "grid",
        "metric": {"name": metric_of(run), "goal": "maximize", "at": "last"},
        "seeds": [seed],
        "parameters": {name: {"value": value} for name, value in {**fixed, **params}.items()},
        **(data if is_bert else {}),
        "early_stop": stop,
        "checkpoint": {"every_steps": max(1, run.steps // CHECKPOINTS), "keep_healthy": KEPT},
        "resources": {"cpus": 1},
        "figures": {"every_steps": 1_000_000, "most_runs": 1},
    }


def run_sweep(folder: Path, sweep: Json) -> list[TrialRecord]:
    """Run a sweep to its end, or resume it, and return its trials.

    Raises:
        SweepFailed: the command failed, or a trial neither completed nor was stopped by a diagnosis.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sweep.yaml"
    file.write_text(yaml.safe_dump(sweep, sort_keys=False))
    words = [sys.executable, "-m", "sweeper.cli", "run", str(file), "--runs", str(folder), "--share", "--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    (folder / "output.txt").write_text(done.stdout + done.stderr)
    trials = [read_trial(one) for one in SweepDir(folder / str(sweep["name"])).trials()]
    ended = all(trial.state in (State.COMPLETE, State.PRUNED) for trial in trials)
    if done.returncode != 0 or not trials or not ended:
        raise SweepFailed(f"{folder}: expected a sweep that ends, see output.txt there")
    return trials


def steps_of(trial: TrialRecord) -> int:
    """Return the optimizer steps that a trial did itself."""
    derived = trial.facts.derived
    return trial.step - (START if derived is None else derived.step)


def folder_of(run: FailingRun) -> str:
    """Return the name of the directory of a failing run."""
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in f"{run.part}-{run.task}-{run.arm}-{run.seed}")


def as_line(line: Mapping[str, Any]) -> str:
    """Return a line of the log."""
    return json.dumps(line, allow_nan=False) + "\n"
