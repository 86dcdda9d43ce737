"""Print at which learning rate the recorded BERT runs with even seeds broke, from which repairs were designed.

python -m benchmarks.repairs.onsets
"""

from __future__ import annotations

import statistics

from benchmarks.repairs.known import BERTS, unpacked
from sweeper.backtest import read_recordings
from sweeper.backtest.repairs import replay_repairs
from sweeper.rules.repair.siblings import as_number


def main() -> None:
    """Print a line for each run that a diagnosis stops, and the median of those that broke in their warmup."""
    found: list[float] = []
    with unpacked("verdicts") as folder:
        recordings = read_recordings([folder / name for name in BERTS], say=print)
        for one in (trial for run in replay_repairs(recordings).runs for trial in run.trials):
            failure, peak = one.failure, as_number(one.case.params["lr"])
            if failure is None or peak is None or one.case.seed is None or one.case.seed % 2:
                continue
            if failure.ramp > 0:
                found.append(failure.ramp * peak)
            where = f"lr {failure.ramp * peak:.2g}" if failure.ramp > 0 else "after the warmup"
            print(f"{one.case.label}, seed {one.case.seed}: broke at step {failure.broke}, {where}")
    print(f"{len(found)} broke in the warmup; median lr {statistics.median(found):.2g}")


if __name__ == "__main__":
    main()
