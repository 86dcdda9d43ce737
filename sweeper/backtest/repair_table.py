"""Show what repairs would have done to recorded trials as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.backtest.repairs import CHECKPOINTS, Count, RepairReport, ReplayedRepair
from sweeper.backtest.report import CONFIDENCE
from sweeper.record.derivation import Derivation
from sweeper.results.wording import counted, plain
from sweeper.rules.repair import NoRepair

LEGEND = (
    f"Checkpoints are taken as saved {CHECKPOINTS} times in a plan. Steps: those of the repaired trials, from their "
    "checkpoints to their ends. Done twice: from the checkpoint to the stop. Siblings: other recorded trials, each "
    "counted once; learning rate, warmup, clipping and weight decay within a factor of 1.5. In brackets: "
    f"{CONFIDENCE:.0%} intervals (Clopper-Pearson)."
)


def repair_lines(report: RepairReport, *, trials: bool = False) -> list[str]:
    """Return the report as lines; with `trials`, with a line for each stopped trial."""
    lines: list[str] = []
    for run in report.runs:
        stopped = counted(len(run.trials), "trial", "trials")
        lines.append(plain(f"{run.recording.name}: {stopped} that early_stop: auto stops; {run.parameters.text()}"))
        if trials:
            lines += [plain(f"  {_trial(one)}") for one in run.trials]
    return [*lines, "", *_summary(report), "", LEGEND]


def _summary(report: RepairReport) -> Iterator[str]:
    repaired = report.repaired
    stopped = sum(len(run.trials) for run in report.runs)
    learners = sum(one.outcome is True for one in repaired)
    yield f"repaired: {len(repaired)} of {counted(stopped, 'stopped trial', 'stopped trials')}" + (
        f", of which {learners} would have learned without it" if learners else ""
    )
    if repaired:
        steps, plans = sum(one.cost for one in repaired), sum(one.case.planned for one in repaired)
        extra, saved = sum(one.extra for one in repaired), sum(one.saved for one in repaired)
        yield f"steps: {steps:,}, of which {extra:,} are done twice ({extra / plans:.0%} of the plans)"
        yield f"steps saved against restarts from step 0: {saved:,}"
        yield f"siblings with about the proposed parameters: {_count(report.like)}"
        yield f"siblings with the parameters as they were, and another seed: {_count(report.same)}"
    for (name, reason), count in sorted(report.refused.items()):
        yield plain(f"not repaired: {counted(count, 'trial', 'trials')}, {name}: {reason}")


def _count(found: Count) -> str:
    if not found.count:
        return "none recorded"
    low, high = found.interval
    return f"{found.learned} of {found.count} learned [{100 * low:.0f}-{100 * high:.0f}%]"


def _trial(one: ReplayedRepair) -> str:
    number = f"{one.case.number:04d}"
    if isinstance(one.found, NoRepair):
        return f"{number} not repaired, {one.found.diagnosis} at step {one.change.step}: {one.found.reason}"
    assert isinstance(one.found, Derivation)  # noqa: S101 - there is no third kind
    return f"{number} {one.found.reason}; {counted(one.cost, 'step', 'steps')}, {one.extra} done twice"
