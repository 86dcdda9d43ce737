"""Calibrate `stalled` on the even seeds of recorded runs, and evaluate it on the odd ones.

python benchmarks/halves.py runs/verdicts runs/verdicts-mild
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from sweeper import config
from sweeper.backtest import Case, Recording, arms, backtest, read_recordings
from sweeper.backtest.table import WIDTH, report_table
from sweeper.rules.calibration.conformal import Calibration, calibrate


def main() -> None:
    """Print the calibration on one half, and the backtest of the calibrated rule on the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--alpha", type=float, default=0.05)
    options = parser.parse_args()
    recordings = read_recordings(options.runs, say=print)
    calibration = calibrated([half(r, is_even) for r in recordings], options.alpha)
    print("On the even seeds:", calibration.text(), "", "On the odd seeds:", sep="\n")
    rules = config.EarlyStop(rules=(calibration.rule, config.Stalled()))
    report = backtest([half(r, lambda case: not is_even(case)) for r in recordings], arms(rules))
    Console(width=WIDTH).print(report_table(report))


def is_even(case: Case) -> bool:
    """Return whether the trial belongs to the half for calibration."""
    return (case.seed or 0) % 2 == 0


def half(recording: Recording, chosen: Callable[[Case], bool]) -> Recording:
    """Return a recording of the chosen trials only, so that they are judged without the other half."""
    return replace(recording, cases=[case for case in recording.cases if chosen(case)])


def calibrated(recordings: list[Recording], alpha: float) -> Calibration:
    """Calibrate `stalled` on the recordings."""
    judged = [(recording.is_learner(case), case.events) for recording in recordings for case in recording.cases]
    learners = [events for learned, events in judged if learned]
    stalls = [events for learned, events in judged if not learned]
    return calibrate(config.Stalled(), learners, stalls, alpha)


if __name__ == "__main__":
    main()
