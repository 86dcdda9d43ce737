"""Plot the stalls of recorded runs for a visual check: training loss, reach, onset, and decision of `stalled`.

python benchmarks/onsets.py docs/images/onsets.png runs/verdicts runs/verdicts-mild
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from matplotlib.figure import Figure

from sweeper import config
from sweeper.backtest import Case, Recording, read_recordings
from sweeper.record.events import Metrics, Observation
from sweeper.rules import first_decision, rule_of

COLUMNS = 5
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    recordings = read_recordings(options.runs, say=print)
    stalls = [
        (recording, case) for recording in recordings for case in recording.cases if not recording.is_learner(case)
    ]
    rows = math.ceil(len(stalls) / COLUMNS)
    figure = Figure(figsize=(3.2 * COLUMNS, 2.1 * rows), dpi=80, layout="constrained")
    for index, (recording, case) in enumerate(stalls):
        draw(figure, (rows, COLUMNS, index + 1), case, recording)
    figure.suptitle(
        "training loss (blue), reach (grey, right axis), onset (green), decision of the rule (vermilion, dashed)"
    )
    figure.savefig(options.picture)


def draw(figure: Figure, position: tuple[int, int, int], case: Case, recording: Recording) -> None:
    """Draw one stall."""
    axes = figure.add_subplot(*position)
    losses = [
        (e.step, e.values[recording.loss]) for e in case.events if isinstance(e, Metrics) and recording.loss in e.values
    ]
    reach = [(e.step, e.reach) for e in case.events if isinstance(e, Observation)]
    axes.plot(*zip(*losses, strict=True), color=BLUE, lw=1)
    axes.set_ylim(0.6, 1.6)
    right = axes.twinx()
    right.semilogy(*zip(*reach, strict=True), color=GREY, lw=0.8)
    right.set_ylim(1e-9, 1e2)
    axes.axvline(recording.onset(case), color=GREEN, lw=1.5)
    decision = first_decision(rule_of(config.Stalled()), case.events)
    if decision is not None:
        axes.axvline(decision.step, color=VERMILION, lw=1.5, ls="--")
    axes.set_title(f"{recording.name} {case.number:04d}  {case.label}", fontsize=8)
    axes.tick_params(labelsize=7)
    right.tick_params(labelsize=7)


if __name__ == "__main__":
    main()
