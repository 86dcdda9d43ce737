"""A report as people read it: a row for each rule and pruner, in 100 columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.backtest.case import Case, Recording
from sweeper.backtest.replay import AUTO_AND_WARNINGS, Verdict, Verdicts
from sweeper.backtest.report import (
    BY_TRUTH,
    CONFIDENCE,
    NO_FLAG,
    Judged,
    Report,
    Tally,
    Words,
    not_counted,
    outcome_of,
    words_of,
)
from sweeper.results.columns import Column, fitted
from sweeper.results.wording import counted, duration, fold_line, number, plain
from sweeper.rules.calibration.intervals import clopper_pearson
from sweeper.rules.diagnoses import DIAGNOSES
from sweeper.views.terminal.rich_tables import rich_table

WIDTH = 100
TEN_MINUTES = 600
LEGEND = (
    f"In brackets: {CONFIDENCE:.0%} intervals (Clopper-Pearson). Delay: observations from the onset to the flag, "
    "within which half of the caught stalls were flagged, and three quarters. After onset: the share of the steps of "
    "stalls after their onset that was saved. Regret: how much worse the best trial that survives is than the best."
)
TRUTH_LEGEND = (
    f"In brackets: {CONFIDENCE:.0%} intervals (Clopper-Pearson). By 10%, by half: the share of the flagged failed "
    "trials that were flagged by then, in planned steps; 10% counts from the onset of a trial that fails later. Right "
    "class: the share of them whose diagnosis is one of those in the file. After onset: the share of the steps of "
    "failed trials after their onset that was saved. Pruners compare the trials of one task."
)


def report_table(report: Report, *, each: bool = False, trials: bool = False, reasons: bool = False) -> RenderableType:
    """The pooled table and, with known outcomes, the confusion matrix.

    Args:
        each: print the table of each run before it.
        trials: print every trial of each run.
        reasons: print why each trial is flagged, and which failed trials are not.
    """
    single = len(report.runs) == 1
    parts: list[RenderableType] = []
    for index, run in enumerate(report.runs):
        if index and (each or trials):
            parts.append(Text(""))
        parts += [Text(line) for line in _of_run(run.recording)]
        if trials:
            parts += [Text(""), _trial_table(run)]
        if each and not single:
            words = words_of(run.recording)
            parts += [Text(""), _tally_table(run.tallies, words), *_afterwords([run], run.tallies, words)]
    pooled, words = report.pooled, report.words
    if not single:
        parts += [Text(""), Text(f"{len(report.runs)} runs together", style="bold")]
    parts += [Text(""), _tally_table(pooled, words), *_afterwords(report.runs, pooled, words)]
    parts += [Text(""), Text(TRUTH_LEGEND if words is BY_TRUTH else LEGEND)]
    if report.confusion:
        parts += [Text(""), *_confusion(report.confusion)]
    if reasons:
        parts += [Text(line) for run in report.runs for line in _reasons(run, single=single)]
    return Group(*parts)


def _of_run(recording: Recording) -> list[str]:
    """What is judged, by which measure."""
    words, goal = words_of(recording), "highest" if recording.maximize else "lowest"
    learners, stalls = len(recording.learners), len(recording.stalls)
    ended = f"{counted(len(recording.cases), 'trial', 'trials')} that ended by themselves"
    outcomes = f"{counted(learners, words.learner, words.learners)} and {counted(stalls, words.stall, words.stalls)}"
    lines = [f"{plain(recording.name)}: {ended}, {outcomes}", f"  {plain(recording.metric)}, {goal} is best"]
    border = recording.start + (recording.half if recording.maximize else -recording.half)
    if recording.truth is not None:
        unknown = ", ".join(f"{count} {why}" for why, count in not_counted(recording).items())
        lines += [f"  not counted: {unknown} in the file of known outcomes"] if unknown else []
    elif math.isfinite(border):
        side = "at least" if recording.maximize else "at most"
        lines[-1] += (
            f": a learner ends with {side} {number(border)}, half of the best gain over {number(recording.start)}"
        )
    else:
        lines[-1] += ": nobody gained anything over the start"
    if recording.left_out:
        listed = ", ".join(f"{count} {plain(why)}" for why, count in recording.left_out.items())
        lines.append(f"  left out, since what they would have become is not known: {listed}")
    return lines


Cell: TypeAlias = Callable[[Tally], str]


def _columns(words: Words) -> list[tuple[str, Cell]]:
    """The heads of the table after the first, and what stands below each."""
    steps: tuple[str, Cell] = (
        "steps\nsaved",
        lambda tally: f"{tally.steps_saved} {_share(tally.steps_saved, tally.steps)}",
    )
    counts: list[tuple[str, Cell]] = [
        (f"{words.stalls}\n{words.caught}", lambda tally: _counted(tally.caught, tally.stalls)),
        (f"{words.learners}\n{words.killed}", lambda tally: _counted(tally.killed, tally.learners)),
    ]
    after: tuple[str, Cell] = (
        "after\nonset",
        lambda tally: "-" if math.isnan(tally.after_onset) else f"{tally.after_onset:.0%}",
    )
    if words is BY_TRUTH:
        return [
            steps,
            *counts,
            ("by\n10%", lambda tally: _share(tally.early, tally.caught)),
            ("by\nhalf", lambda tally: _share(tally.in_half, tally.caught)),
            ("right\nclass", lambda tally: _share(tally.right, tally.named)),
            after,
        ]
    return [
        steps,
        (
            "time\nsaved",
            lambda tally: f"{_span(tally.seconds_saved)} {_share(tally.seconds_saved, tally.seconds)}",
        ),
        *counts,
        ("delay\nhalf,\nmost", lambda tally: f"{tally.delay[0]:g}, {tally.most_looks:g}" if tally.delays else "-"),
        after,
        ("regret", lambda tally: number(tally.regret) if math.isfinite(tally.regret) else "all lost"),
    ]


def _tally_table(tallies: Mapping[str, Tally], words: Words) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    # A name that is too long goes on below; numbers never do.
    table.add_column("rule", justify="left", overflow="fold")
    columns = _columns(words)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True, overflow="fold")
    for name, tally in tallies.items():
        table.add_row(Text(plain(name)), *(Text(cell(tally)) for _, cell in columns))
    return table


def _span(seconds: float) -> str:
    """A duration that keeps its column narrow: from ten minutes on without seconds."""
    return duration(seconds) if seconds < TEN_MINUTES else f"{seconds / 60:.0f}m"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _counted(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of, CONFIDENCE)
    return f"{count}/{of} [{100 * low:.0f}-{100 * high:.0f}%]" if of else "0/0"


def _afterwords(runs: Sequence[Judged], tallies: Mapping[str, Tally], words: Words) -> list[Text]:
    """Which learners were flagged, by number, and which arms could not be replayed, on which run and why."""
    single = len(runs) == 1
    lines = []
    for name, tally in tallies.items():
        killed: dict[str, list[str]] = {}
        for run, trial in tally.learners_killed:
            killed.setdefault(run, []).append(f"{trial:04d}")
        if killed:
            listed = [("" if single else f"{plain(run)} ") + " ".join(trials) for run, trials in killed.items()]
            lines.append(f"{words.learners} {words.killed} by {plain(name)}: {', '.join(listed)}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for judged in runs:
        for name, reason in judged.reasons.items():
            reasons.setdefault((name, reason), []).append(plain(judged.recording.name))
    for (name, reason), where in reasons.items():
        on = "" if single else f" on {', '.join(where)}"
        lines.append(f"{plain(name)}{on}: {plain(reason)}")
    return [Text(""), *map(Text, lines)] if lines else []


def _confusion(counts: Mapping[str, Mapping[str, int]]) -> Iterator[RenderableType]:
    """The confusion matrix. Its columns have the numbers of the rows of the same class."""
    columns = {column for row in counts.values() for column in row}
    named = [name for name in DIAGNOSES if name in counts or name in columns]
    rows = [*named, *(row for row in counts if row not in named)]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("true class")
    numbers = {name: str(index) for index, name in enumerate(named, 1)}
    heads = [name for name in named if name in columns]
    for head in (*(numbers[name] for name in heads), NO_FLAG):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        cells = [str(counts.get(row, {}).get(column, 0) or ".") for column in (*heads, NO_FLAG)]
        table.add_row(numbers.get(row, ""), row, *cells)
    yield Text(f"Confusion of {AUTO_AND_WARNINGS}: true classes as rows, flagged classes as columns", style="bold")
    yield table


def _reasons(run: Judged, *, single: bool) -> Iterator[str]:
    """Why trials are flagged: of `auto + warnings`, or without it of every arm that gives reasons."""
    replayed = {name: found for name, found in run.verdicts.items() if not isinstance(found, str)}
    chosen = [AUTO_AND_WARNINGS] if AUTO_AND_WARNINGS in replayed else [n for n, f in replayed.items() if _explains(f)]
    words = words_of(run.recording)
    for name in chosen:
        found = replayed[name]
        unknown = [case for case in run.recording.cases if run.recording.outcome(case) is None]
        flagged = (
            (f"{words.learners}, flagged", run.recording.learners),
            (f"{words.stalls}, flagged", run.recording.stalls),
            ("not counted, flagged", unknown),
        )
        missed = [case for case in run.recording.stalls if found[case.number] is None]
        yield ""
        yield plain(name) if single else f"{plain(name)} on {plain(run.recording.name)}"
        for head, cases in flagged:
            lines = [
                f"    {_called(run.recording, case)}: {_told(verdict)}"
                for case in cases
                if (verdict := found[case.number]) is not None
            ]
            yield from _listed(head, lines)
        yield from _listed(f"{words.stalls}, not flagged", [f"    {_called(run.recording, case)}" for case in missed])


def _explains(verdicts: Verdicts) -> bool:
    return any(flag.reason for verdict in verdicts.values() if verdict is not None for flag in verdict.flags)


def _listed(head: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"  {head} ({len(lines)})"
        yield from (fold_line(line, WIDTH) for line in lines)


def _called(recording: Recording, case: Case) -> str:
    """A trial by number, task, parameters and seed."""
    known = None if recording.truth is None else recording.truth.get(case.number)
    parts = [f"task {known.task}"] if known is not None and known.task else []
    parts += [case.label] if case.label else []
    parts += [] if case.seed is None else [f"seed {case.seed}"]
    parts += [f"true class {' or '.join(known.classes)}"] if known is not None and known.classes else []
    return plain(f"{case.number:04d} ({', '.join(parts)})")


def _told(verdict: Verdict) -> str:
    first, *others = verdict.flags
    reason = f": {first.reason}" if first.reason else ""
    also = ", ".join(f"{flag.rule} at step {flag.step}" for flag in others)
    return plain(f"{first.rule} at step {first.step}{reason}{f' (also {also})' if also else ''}")


def _trial_table(run: Judged) -> Table:
    """A row a trial, the seeds of a configuration together: its outcome, and where those who stop any stop it."""
    recording = run.recording
    cases = sorted(recording.cases, key=lambda case: (_first_with(recording, case), case.number))
    columns = [
        Column(head="trial", cells=[f"{case.number:04d}" for case in cases], right=False, firm=True),
        Column(head="parameters", cells=[plain(case.label) for case in cases], right=False),
        Column(head="seed", cells=["-" if case.seed is None else str(case.seed) for case in cases], give=2),
        Column(head="last", cells=[number(case.last) for case in cases], firm=True),
        Column(head="outcome", cells=[outcome_of(recording, case) or "not counted" for case in cases], right=False),
        Column(head="onset", cells=[str(recording.onsets.get(case.number, "-")) for case in cases]),
    ]
    replayed = [(name, found) for name, found in run.verdicts.items() if not isinstance(found, str)]
    stopping = [(name, found) for name, found in replayed if any(step is not None for step in found.values())]
    for index, (name, found) in enumerate(stopping):
        cells = ["-" if (verdict := found[case.number]) is None else str(verdict.step) for case in cases]
        columns.append(Column(head=plain(name), cells=cells, give=3 + index if index else 0))
    return rich_table(fitted(columns, WIDTH), [""] * len(cases))


def _first_with(recording: Recording, case: Case) -> int:
    """The lowest number of a trial with the same parameters."""
    return min(other.number for other in recording.cases if other.label == case.label)
