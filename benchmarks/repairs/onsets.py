"""Print at which learning rate the recorded BERT runs with even seeds broke, from which repairs were designed.

python -m benchmarks.repairs.onsets
"""

from __future__ import annotations

import statistics

from benchmarks.repairs.known import BERTS, unpacked
from benchmarks.repairs.plan import BERT_STEPS
from sweeper.backtest import read_recordings
from sweeper.backtest.repairs import replay_repairs
from sweeper.rules.repair import failure_of
from sweeper.rules.repair.siblings import as_number


def main() -> None:
    """Print a line for each run that a diagnosis stops, and the median of those that broke in their warmup."""
    found: list[float] = []
    with unpacked("verdicts") as folder:
        recordings = read_recordings([folder / name for name in BERTS], say=print)
        for one in (trial for run in replay_repairs(recordings).runs for trial in run.trials):
            case, change = one.case, one.change
            if case.seed is None or case.seed % 2:
                continue
            failure = failure_of(
                case.number,
                case.params,
                case.events,
                diagnosis=change.diagnosis,
                step=change.step,
                evidence=change.evidence,
            )
            peak, share = (as_number(case.params[name]) or 0.0 for name in ("lr", "warmup_fraction"))
            reached = peak * min(1, (failure.broke + 1) / (share * BERT_STEPS))
            if reached < peak:
                found.append(reached)
            print(f"{case.label}, seed {case.seed}: broke at step {failure.broke}, lr {reached:.2g}")
    print(f"{len(found)} broke in the warmup; median lr {statistics.median(found):.2g}")


if __name__ == "__main__":
    main()
