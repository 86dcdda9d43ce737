"""Replay the rule `stalled` over recorded runs and count both kinds of error.

    python benchmarks/verdicts.py runs/warmup-real [runs/warmup-synthetic] [--below 0.005 --window 5 --grace-steps 60]

The runs must have been recorded without early stopping (`early_stop.rules=[]`), so that what a condemned trial would
have become is known. For each trial it prints the outcome, by hindsight, and the verdict, by the rule:

- a *learner* ends with at least half of its best sibling's gain over the start, a *stall* with less;
- the *onset* of a stall is the last step at which its training loss (median of five points) improved by more than three
  times the scatter of its points at chance (the first ten); 0 if it never did;
- the verdict is the step at which the rule condemns the trial.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sweeper import spec
from sweeper.record.events import Event, Metrics
from sweeper.record.layout import SweepDir
from sweeper.record.trial import Trial, history, read_trial, spelled
from sweeper.rules import Rule, first_decision, rule_of

SMOOTHED = 5
AT_CHANCE = 10
SCATTERS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One recorded trial: what it became, and what the rule says of it."""

    trial: Trial
    last: float
    best: float
    stalled: bool
    onset: int
    verdict: int | None


def main() -> None:
    """Print a table of trials, a table of arms, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    defaults = spec.Stalled()
    parser.add_argument("--below", type=float, default=defaults.below)
    parser.add_argument("--window", type=int, default=defaults.window)
    parser.add_argument("--grace-steps", type=int, default=defaults.grace_steps)
    parser.add_argument("--trials", action="store_true", help="each trial, not only each arm")
    options = parser.parse_args()
    settings = spec.Stalled(below=options.below, window=options.window, grace_steps=options.grace_steps)
    rule = rule_of(settings)
    console = Console(width=120)
    for run in options.runs:
        cases = cases_of(SweepDir(run), rule)
        console.print(f"\n{run.name}: {settings!r}")
        if options.trials:
            console.print(trial_table(cases))
        console.print(arm_table(cases))
        console.print(counts(cases))


def cases_of(run: SweepDir, rule: Rule) -> list[Case]:
    """Every trial of a run that ended by itself."""
    trials = [read_trial(directory) for directory in run.trials()]
    ended = [trial for trial in trials if trial.series is not None and trial.state.value == "COMPLETE"]
    lasts = [trial.series.last for trial in ended if trial.series]
    start = min(lasts)  # what a trial that never learned ends with: the share of the largest class
    half = start + (max(lasts) - start) / 2
    cases = []
    for trial in ended:
        events = history(trial.directory.attempts())
        decision = first_decision(rule, events)
        series = trial.series
        assert series is not None  # noqa: S101 - by the filter above
        cases.append(
            Case(
                trial=trial,
                last=series.last,
                best=series.high,
                stalled=series.last < half,
                onset=onset_of(events),
                verdict=decision.step if decision else None,
            )
        )
    return cases


def onset_of(events: Sequence[Event], metric: str = "loss/train") -> int:
    """The last step at which the smoothed training loss improved by more than three times its scatter at chance."""
    points = [(e.step, e.values[metric]) for e in events if isinstance(e, Metrics) and metric in e.values]
    smooth = [
        (points[i][0], statistics.median(value for _, value in points[max(0, i - SMOOTHED + 1) : i + 1]))
        for i in range(len(points))
    ]
    at_chance = [value for _, value in points[1 : 1 + AT_CHANCE]]
    if len(at_chance) < AT_CHANCE:
        return 0
    scatter = statistics.pstdev(at_chance)
    best, onset = statistics.median(at_chance), 0
    for step, value in smooth[SMOOTHED:]:
        if value < best - SCATTERS * scatter:
            best, onset = value, step
    return onset


def arm_of(trial: Trial) -> str:
    """The varied parameters of a trial."""
    return ", ".join(f"{name}={spelled(value)}" for name, value in trial.facts.shown.items())


def trial_table(cases: Sequence[Case]) -> Table:
    """A row a trial."""
    table = Table("trial", "arm", "seed", "last", "best", "outcome", "onset", "condemned")
    for case in cases:
        outcome = "stall" if case.stalled else "learner"
        table.add_row(
            f"{case.trial.facts.number:04d}",
            arm_of(case.trial),
            str(case.trial.facts.seed),
            f"{case.last:.3f}",
            f"{case.best:.3f}",
            outcome,
            str(case.onset) if case.stalled else "",
            "never" if case.verdict is None else str(case.verdict),
        )
    return table


def arm_table(cases: Sequence[Case]) -> Table:
    """A row an arm: how its seeds ended, and when they were condemned."""
    table = Table("arm", "seeds", "stalls", "accuracy at the end, by seed", "condemned at step, by seed")
    for arm in dict.fromkeys(arm_of(case.trial) for case in cases):
        own = [case for case in cases if arm_of(case.trial) == arm]
        table.add_row(
            arm,
            str(len(own)),
            str(sum(case.stalled for case in own)),
            " ".join(f"{case.last:.3f}" for case in own),
            " ".join("-" if case.verdict is None else str(case.verdict) for case in own),
        )
    return table


def counts(cases: Sequence[Case]) -> str:
    """Both kinds of error, and how soon and how much."""
    stalls, learners = [c for c in cases if c.stalled], [c for c in cases if not c.stalled]
    caught = [case for case in stalls if case.verdict is not None]
    killed = [case for case in learners if case.verdict is not None]
    delays = [case.verdict - case.onset for case in caught if case.verdict is not None]
    early = [case.verdict for case in caught if case.onset == 0 and case.verdict is not None]
    lines = [
        f"stalls condemned: {len(caught)} of {len(stalls)}; learners condemned: {len(killed)} of {len(learners)}",
        f"stalls from the start: condemned at steps {min(early, default=math.nan)} to {max(early, default=math.nan)}",
        f"steps from onset to verdict: {sorted(delays)}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
