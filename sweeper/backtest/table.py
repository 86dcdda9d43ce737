"""A report as people read it: a row for each rule and pruner, in 100 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.report import CONFIDENCE, Judged, Report, Tally
from sweeper.rules.intervals import clopper_pearson
from sweeper.views.table import Column, fitted, table_of
from sweeper.views.wording import counted, duration, number, plain

WIDTH = 100
TEN_MINUTES = 600
HEADS = (
    "rule",
    "steps\nsaved",
    "time\nsaved",
    "stalls\ncaught",
    "learners\nkilled",
    "delay\nhalf,\nmost",
    "after\nonset",
    "regret",
)
LEGEND = (
    f"In brackets: {CONFIDENCE:.0%} intervals (Clopper-Pearson). Delay: looks from its onset to the verdict, in which "
    "half of the caught stalls were condemned, and three quarters. After onset: the share of the steps of stalls after "
    "their onset that was saved. Regret: how much worse the best trial that survives is than the best."
)


def report_table(report: Report, *, each: bool = False, trials: bool = False) -> RenderableType:
    """The pooled table; with `each` the runs' own before it, with `trials` every trial of each run."""
    single = len(report.runs) == 1
    parts: list[RenderableType] = []
    for index, run in enumerate(report.runs):
        if index and (each or trials):
            parts.append(Text(""))
        parts += [Text(line) for line in _of_run(run.recording)]
        if trials:
            parts += [Text(""), _trial_table(run)]
        if each and not single:
            parts += [Text(""), _tally_table(run.tallies), *_afterwords([run], run.tallies)]
    pooled = report.pooled
    if not single:
        parts += [Text(""), Text(f"{len(report.runs)} runs together", style="bold")]
    parts += [Text(""), _tally_table(pooled), *_afterwords(report.runs, pooled), Text(""), Text(LEGEND)]
    return Group(*parts)


def _of_run(recording: Recording) -> list[str]:
    """What is judged, by which measure."""
    learners = [case for case in recording.cases if recording.is_learner(case)]
    stalls = len(recording.cases) - len(learners)
    goal = "highest" if recording.maximize else "lowest"
    border = recording.start + (recording.half if recording.maximize else -recording.half)
    side = "at least" if recording.maximize else "at most"
    ended = f"{counted(len(recording.cases), 'trial', 'trials')} that ended by themselves"
    outcomes = f"{counted(len(learners), 'learner', 'learners')} and {counted(stalls, 'stall', 'stalls')}"
    lines = [f"{plain(recording.name)}: {ended}, {outcomes}"]
    if math.isfinite(border):
        lines.append(
            f"  {plain(recording.metric)}, {goal} is best: a learner ends with {side} {number(border)}, half of the "
            f"best gain over {number(recording.start)}"
        )
    else:
        lines.append(f"  {plain(recording.metric)}, {goal} is best: nobody gained anything over the start")
    if recording.left_out:
        listed = ", ".join(f"{count} {plain(why)}" for why, count in recording.left_out.items())
        lines.append(f"  left out, since what they would have become is not known: {listed}")
    return lines


def _tally_table(tallies: Mapping[str, Tally]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for head in HEADS:
        first = head == HEADS[0]
        # A name that is too long goes on below; numbers never do.
        table.add_column(head, justify="left" if first else "right", no_wrap=not first, overflow="fold")
    for name, tally in tallies.items():
        table.add_row(*(Text(cell) for cell in _cells(name, tally)))
    return table


def _cells(name: str, tally: Tally) -> list[str]:
    looks, _ = tally.delay
    return [
        plain(name),
        f"{tally.steps_saved} {_share(tally.steps_saved, tally.steps)}",
        f"{_span(tally.seconds_saved)} {_share(tally.seconds_saved, tally.seconds)}",
        _counted(tally.caught, tally.stalls),
        _counted(tally.killed, tally.learners),
        f"{looks:g}, {tally.most_looks:g}" if tally.delays else "-",
        "-" if math.isnan(tally.after_onset) else f"{tally.after_onset:.0%}",
        number(tally.regret) if math.isfinite(tally.regret) else "all lost",
    ]


def _span(seconds: float) -> str:
    """A duration that keeps its column narrow: from ten minutes on without seconds."""
    return duration(seconds) if seconds < TEN_MINUTES else f"{seconds / 60:.0f}m"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _counted(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of, CONFIDENCE)
    return f"{count}/{of} [{100 * low:.0f}-{100 * high:.0f}%]" if of else "0/0"


def _afterwords(runs: Sequence[Judged], tallies: Mapping[str, Tally]) -> list[Text]:
    """Who was killed, by number, and who could not be replayed, on which run and why."""
    single = len(runs) == 1
    lines = []
    for name, tally in tallies.items():
        killed: dict[str, list[str]] = {}
        for run, trial in tally.learners_killed:
            killed.setdefault(run, []).append(f"{trial:04d}")
        if killed:
            listed = [("" if single else f"{plain(run)} ") + " ".join(trials) for run, trials in killed.items()]
            lines.append(f"learners killed by {plain(name)}: {', '.join(listed)}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for judged in runs:
        for name, reason in judged.reasons.items():
            reasons.setdefault((name, reason), []).append(plain(judged.recording.name))
    for (name, reason), where in reasons.items():
        on = "" if single else f" on {', '.join(where)}"
        lines.append(f"{plain(name)}{on}: {plain(reason)}")
    return [Text(""), *map(Text, lines)] if lines else []


def _trial_table(run: Judged) -> Table:
    """A row a trial, the seeds of a configuration together: its outcome, and where those who stop any stop it."""
    recording = run.recording
    cases = sorted(recording.cases, key=lambda case: (_first_with(recording, case), case.number))
    columns = [
        Column(head="trial", cells=[f"{case.number:04d}" for case in cases], right=False, firm=True),
        Column(head="parameters", cells=[plain(case.label) for case in cases], right=False),
        Column(head="seed", cells=["-" if case.seed is None else str(case.seed) for case in cases], give=2),
        Column(head="last", cells=[number(case.last) for case in cases], firm=True),
        Column(
            head="outcome", cells=["learner" if recording.is_learner(case) else "stall" for case in cases], right=False
        ),
        Column(head="onset", cells=["-" if recording.is_learner(c) else str(recording.onset(c)) for c in cases]),
    ]
    replayed = [(name, found) for name, found in run.verdicts.items() if not isinstance(found, str)]
    stopping = [(name, found) for name, found in replayed if any(step is not None for step in found.values())]
    for index, (name, found) in enumerate(stopping):
        cells = ["-" if found[case.number] is None else str(found[case.number]) for case in cases]
        columns.append(Column(head=plain(name), cells=cells, give=3 + index if index else 0))
    return table_of(fitted(columns, WIDTH), [""] * len(cases))


def _first_with(recording: Recording, case: Case) -> int:
    """The lowest number of a trial with the same parameters."""
    return min(other.number for other in recording.cases if other.label == case.label)
