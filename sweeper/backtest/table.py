"""Show a report as tables with a row for each rule and pruner, 100 columns wide."""

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
    BacktestReport,
    OutcomeWords,
    RunReport,
    Tally,
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
    f"In brackets: {CONFIDENCE:.0%} intervals (Clopper-Pearson). Delay: observations from the onset to the flag of "
    "caught stalls, median and upper quartile. After onset: the share of the steps of stalls after their onset that "
    "was saved. Regret: how much worse the best trial that is not stopped is than the best trial."
)
TRUTH_LEGEND = (
    f"In brackets: {CONFIDENCE:.0%} intervals (Clopper-Pearson). By 10%, by half: the share of the flagged failed "
    "trials that were flagged within that share of the planned steps; 10% counts from the onset if a trial fails "
    "later. Right class: the share of flagged failed trials with a diagnosis that the file lists. After onset: "
    "the share of the steps of failed trials after their onset that was saved. Pruners compare the trials of one task."
)


def report_table(
    report: BacktestReport, *, each: bool = False, trials: bool = False, reasons: bool = False
) -> RenderableType:
    """Return the pooled table and, with known outcomes, the confusion matrix.

    Args:
        report: the report.
        each: show the table of each run before the pooled one.
        trials: show every trial of each run.
        reasons: show why each trial is flagged, and which failed trials are not.
    """
    is_only_run = len(report.runs) == 1
    parts: list[RenderableType] = []
    for index, run in enumerate(report.runs):
        if index and (each or trials):
            parts.append(Text(""))
        parts += [Text(line) for line in _of_run(run.recording)]
        if trials:
            parts += [Text(""), _trial_table(run)]
        if each and not is_only_run:
            words = words_of(run.recording)
            parts += [Text(""), _tally_table(run.tallies, words), *_remarks([run], run.tallies, words)]
    pooled, words = report.pooled, report.words
    if not is_only_run:
        parts += [Text(""), Text(f"All {len(report.runs)} runs", style="bold")]
    parts += [Text(""), _tally_table(pooled, words), *_remarks(report.runs, pooled, words)]
    parts += [Text(""), Text(TRUTH_LEGEND if words is BY_TRUTH else LEGEND)]
    if report.confusion:
        parts += [Text(""), *_confusion(report.confusion)]
    if reasons:
        parts += [Text(line) for run in report.runs for line in _reasons(run, is_only_run=is_only_run)]
    return Group(*parts)


def _of_run(recording: Recording) -> list[str]:
    """Return the number of trials by outcome, the metric, and the trials that are left out."""
    words, goal = words_of(recording), "highest" if recording.maximize else "lowest"
    learners, stalls = len(recording.learners), len(recording.stalls)
    ended = f"{counted(len(recording.cases), 'trial', 'trials')} that ended by themselves"
    outcomes = f"{counted(learners, words.learner, words.learners)} and {counted(stalls, words.stall, words.stalls)}"
    lines = [f"{plain(recording.name)}: {ended}, {outcomes}", f"  {plain(recording.metric)}, {goal} is best"]
    if others := [name for name in recording.objectives if name != recording.metric]:
        lines[-1] += f" (one of several objectives; --metric judges by another: {plain(', '.join(others))})"
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
        lines[-1] += ": no trial gained anything over the start"
    if recording.left_out:
        listed = ", ".join(f"{count} {plain(why)}" for why, count in recording.left_out.items())
        lines.append(f"  left out, because their outcomes are not known: {listed}")
    return lines


Cell: TypeAlias = Callable[[Tally], str]


def _columns(words: OutcomeWords) -> list[tuple[str, Cell]]:
    """Return the column heads of the table after the first, and the function that gives the cells of each."""
    steps: tuple[str, Cell] = (
        "steps\nsaved",
        lambda tally: f"{tally.steps_saved} {_share(tally.steps_saved, tally.steps)}",
    )
    counts: list[tuple[str, Cell]] = [
        (f"{words.stalls}\n{words.caught}", lambda tally: _counted(tally.caught, tally.stalls)),
        (f"{words.learners}\n{words.stopped}", lambda tally: _counted(tally.false_flags, tally.learners)),
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
        ("delay\nhalf,\n3/4", lambda tally: f"{tally.delay[0]:g}, {tally.delay_quartile:g}" if tally.delays else "-"),
        after,
        ("regret", lambda tally: number(tally.regret) if math.isfinite(tally.regret) else "infinite"),
    ]


def _tally_table(tallies: Mapping[str, Tally], words: OutcomeWords) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    # Long names are wrapped, numbers are not.
    table.add_column("rule", justify="left", overflow="fold")
    columns = _columns(words)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True, overflow="fold")
    for name, tally in tallies.items():
        table.add_row(Text(plain(name)), *(Text(cell(tally)) for _, cell in columns))
    return table


def _span(seconds: float) -> str:
    """Return a duration as short text: without seconds from ten minutes on."""
    return duration(seconds) if seconds < TEN_MINUTES else f"{seconds / 60:.0f}m"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _counted(count: int, of: int) -> str:
    low, high = clopper_pearson(count, of, CONFIDENCE)
    return f"{count}/{of} [{100 * low:.0f}-{100 * high:.0f}%]" if of else "0/0"


def _remarks(runs: Sequence[RunReport], tallies: Mapping[str, Tally], words: OutcomeWords) -> list[Text]:
    """Return lines on the learners that each arm flagged, and on the arms that cannot be replayed."""
    is_only_run = len(runs) == 1
    lines = []
    for name, tally in tallies.items():
        by_run: dict[str, list[str]] = {}
        for run, trial in tally.flagged_learners:
            by_run.setdefault(run, []).append(f"{trial:04d}")
        if by_run:
            listed = [("" if is_only_run else f"{plain(run)} ") + " ".join(trials) for run, trials in by_run.items()]
            lines.append(f"{words.learners} {words.stopped} by {plain(name)}: {', '.join(listed)}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for judged in runs:
        for name, reason in judged.reasons.items():
            reasons.setdefault((name, reason), []).append(plain(judged.recording.name))
    for (name, reason), where in reasons.items():
        on = "" if is_only_run else f" on {', '.join(where)}"
        lines.append(f"{plain(name)}{on}: {plain(reason)}")
    return [Text(""), *map(Text, lines)] if lines else []


def _confusion(counts: Mapping[str, Mapping[str, int]]) -> Iterator[RenderableType]:
    """Yield the confusion matrix. Each column has the number of the row of the same class."""
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


def _reasons(run: RunReport, *, is_only_run: bool) -> Iterator[str]:
    """Yield the reasons of `auto + warnings`, or if it was not replayed, of every arm that gives reasons."""
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
        yield plain(name) if is_only_run else f"{plain(name)} on {plain(run.recording.name)}"
        for head, cases in flagged:
            lines = [
                f"    {_trial_text(run.recording, case)}: {_verdict_text(verdict)}"
                for case in cases
                if (verdict := found[case.number]) is not None
            ]
            yield from _listed(head, lines)
        yield from _listed(
            f"{words.stalls}, not flagged", [f"    {_trial_text(run.recording, case)}" for case in missed]
        )


def _explains(verdicts: Verdicts) -> bool:
    return any(flag.reason for verdict in verdicts.values() if verdict is not None for flag in verdict.flags)


def _listed(head: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"  {head} ({len(lines)})"
        yield from (fold_line(line, WIDTH) for line in lines)


def _trial_text(recording: Recording, case: Case) -> str:
    """Return the number, task, parameters and seed of a trial as text."""
    known = None if recording.truth is None else recording.truth.get(case.number)
    parts = [f"task {known.task}"] if known is not None and known.task else []
    parts += [case.label] if case.label else []
    parts += [] if case.seed is None else [f"seed {case.seed}"]
    parts += [f"true class {' or '.join(known.classes)}"] if known is not None and known.classes else []
    return plain(f"{case.number:04d} ({', '.join(parts)})")


def _verdict_text(verdict: Verdict) -> str:
    first, *others = verdict.flags
    reason = f": {first.reason}" if first.reason else ""
    also = ", ".join(f"{flag.rule} at step {flag.step}" for flag in others)
    return plain(f"{first.rule} at step {first.step}{reason}{f' (also {also})' if also else ''}")


def _trial_table(run: RunReport) -> Table:
    """Return a table with a row for each trial: its outcome, and the step at which each arm flags it.

    Trials with the same parameters are next to each other. Arms that flag no trial are left out.
    """
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
    """Return the lowest number of a trial with the same parameters."""
    return min(other.number for other in recording.cases if other.label == case.label)
