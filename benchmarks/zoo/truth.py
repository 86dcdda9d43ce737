"""Judge the recorded runs by their outcome: `python -m benchmarks.zoo.truth runs/zoo truth.json`.

The gain of a run is its last `score/test` minus the score of a trivial predictor; a score that is not finite counts as
the trivial one. The reference is the median gain of the runs of the task's good arms. A run with less than half of it
failed, and one with at least 0.8 of it is healthy. Between the two, and for arms near the border of learning, `failed`
is null: such runs are left out of both counts.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.zoo.catalogue import tasks
from benchmarks.zoo.task import SCORE, Arm, Task
from sweeper.record.reader import read_trial
from sweeper.record.storage.layout import SweepDir

FAILED_BELOW, HEALTHY_FROM = 0.5, 0.8
"""Shares of the reference gain."""


@dataclass(frozen=True)
class Run:
    """A recorded run that reached its last step.

    Attributes:
        number: the number of the trial.
        parameters: the parameters of the trial.
        seed: the seed of the trial.
        task: the task.
        arm: the arm of the task.
        score: the last `score/test`; None if there is none.
    """

    number: int
    parameters: Mapping[str, object]
    seed: int
    task: Task
    arm: Arm
    score: float | None

    @property
    def gain(self) -> float:
        """The gain of the run over a trivial predictor."""
        return 0.0 if self.score is None or not math.isfinite(self.score) else self.score - self.task.baseline


def recorded(run: Path) -> tuple[list[Run], int]:
    """Return the complete runs of a run directory, and the number of trials that are not complete."""
    known = tasks()
    found: list[Run] = []
    missing = 0
    for directory in SweepDir(run).trials():
        trial = read_trial(directory)
        if trial.state.value != "COMPLETE":
            missing += 1
            continue
        task, _, arm = str(trial.facts.params["case"]).partition("/")
        series = trial.progress.metrics.get(SCORE)
        score = None if series is None else series.last
        of = known[task]
        found.append(Run(trial.number, trial.facts.params, trial.facts.seed, of, of.arm(arm), score))
    return found, missing


def references(runs: Iterable[Run]) -> dict[str, float]:
    """Return the median gain of the good arms' runs, by task."""
    gains: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        if not run.arm.fails and not run.arm.border:
            gains[run.task.name].append(run.gain)
    return {task: statistics.median(found) for task, found in gains.items()}


def failed(run: Run, reference: float | None) -> bool | None:
    """Return whether a run failed; None if that is undecided."""
    if run.arm.border or reference is None or reference <= 0:
        return None
    if run.gain < FAILED_BELOW * reference:
        return True
    return False if run.gain >= HEALTHY_FROM * reference else None


def truth(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Return the known outcome of each run.

    `class` is empty for a run that did not fail, and for a failed run of a good arm, for which any class is right.
    """
    found = references(runs)
    rows: list[dict[str, object]] = []
    for run in runs:
        outcome = failed(run, found.get(run.task.name))
        rows.append(
            {
                "number": run.number,
                "parameters": dict(run.parameters),
                "seed": run.seed,
                "failed": outcome,
                "class": list(run.arm.expected) if outcome else [],
                "task": run.task.name,
                "arm": run.arm.name,
                "score": run.score if run.score is not None and math.isfinite(run.score) else None,
                "made_to_fail": run.arm.fails,
            }
        )
    return rows


def main() -> None:
    """Write the outcomes of a run directory, and print those that differ from the purpose of their arms."""
    parser = argparse.ArgumentParser(description="Judge the recorded runs of the zoo by their outcome")
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    runs, missing = recorded(options.run)
    rows = truth(runs)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    counts = Counter({True: "failed", False: "healthy", None: "undecided"}[failed_] for failed_ in _outcomes(rows))
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{len(rows)} complete runs ({shown}); {missing} trials are not complete")
    for row in rows:
        if row["failed"] is not None and row["failed"] != row["made_to_fail"]:
            outcome = "failed" if row["failed"] else "learned"
            print(f"{row['task']}/{row['arm']} seed {row['seed']}: {outcome}, score {row['score']}")


def _outcomes(rows: Iterable[Mapping[str, object]]) -> list[bool | None]:
    return [None if row["failed"] is None else bool(row["failed"]) for row in rows]


if __name__ == "__main__":
    main()
