"""The third part: does a repair do better with the moments of the optimizer from the checkpoint, or without them?

Both continue the same failing run from the same checkpoint with the same parameters. The runs are those of BERT with
even seeds, by which no other part is judged: a repair of the zoo nearly always begins at the start, where there are no
moments.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.repairs.plan import FailingRun, bert_runs
from benchmarks.repairs.ways import ROOT, Json, SweepFailed, folder_of, run_sweep, sweep_of, told
from sweeper.record.derivation import START
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir

PART = "moments"
LONG_WARMUPS = 0.4
"""With a shorter warmup, a BERT run fails so early that its repair begins at the start."""


def planned(stalls: Iterable[Mapping[str, Any]]) -> list[FailingRun]:
    """Return the failing BERT runs with even seeds and a long warmup, the configurations side by side.

    Args:
        stalls: the recorded BERT runs that did not learn.
    """
    return bert_runs([row for row in stalls if row["warmup_fraction"] >= LONG_WARMUPS], odd=False)


def measure(folder: Path, run: FailingRun, commit: str) -> Json:
    """Return the line about a failing run: how its repair ended with the moments, and how without them.

    Raises:
        SweepFailed: a sweep had another end.
    """
    place = folder / PART / folder_of(run)
    sweep = sweep_of(run, run.params, run.seed, repair=True)
    sweep["early_stop"]["max_repairs"] = 1
    trials = run_sweep(place, sweep)
    line: Json = {"part": PART, "half": run.half, "arm": run.arm, "seed": run.seed, "plan": run.steps, "commit": commit}
    derived = trials[1].facts.derived if len(trials) > 1 else None
    if derived is None or derived.step == START:
        return {**line, "first": told(trials[0], run), "kept": None, "fresh": None}
    changes = [f"{name}={value!r}" for name, value in derived.changes.items()]
    _derive(place / str(sweep["name"]), ["--at", str(derived.step), "--fresh-optimizer", *changes])
    trials = [read_trial(one) for one in SweepDir(place / str(sweep["name"])).trials()]
    kept, fresh = trials[1:3]
    if fresh.facts.derived is None or fresh.facts.derived.step != derived.step:
        raise SweepFailed(f"{place}: expected a second trial that continues from step {derived.step}")
    return {**line, "first": told(trials[0], run), "kept": told(kept, run), "fresh": told(fresh, run)}


def _derive(run: Path, words: Sequence[str]) -> None:
    command = [sys.executable, "-m", "sweeper.cli", "derive", str(run), "0", *words, "--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    (run.parent / "derived.txt").write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        raise SweepFailed(f"{run}: the derived trial failed, see derived.txt beside it")
