"""What a sweep found: the ranking, what was pruned when and why, and what that saved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.views.receipt import end_line, value_step
from sweeper.views.snapshot import SweepView, savings_of
from sweeper.views.table import STYLES, Column, fitted, params_of, shorten, table_of
from sweeper.views.wording import duration, number, plain


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Best value first, those without a value last; equals by number."""

    def key(trial: Trial) -> tuple[bool, float, int]:
        value = trial.value
        signed = 0.0 if value is None else -value if trial.facts.maximize else value
        return value is None, signed, trial.facts.number

    return sorted(trials, key=key)


def ranking(sweep: SweepView, *, width: int = 80) -> RenderableType:
    """The ranking as rich renders it, in `width` cells; reasons wrap."""
    order = ranked(sweep.trials)
    styles = [STYLES[trial.state] for trial in order]
    table = table_of(fitted(_columns(order, sweep, width), width), styles)
    return Group(table, *(Text(line) for line in _afterwords(sweep)))


def ranking_text(sweep: SweepView) -> str:
    """The ranking as plain text, as wide as it needs to be."""
    columns = _columns(ranked(sweep.trials), sweep, 1000)
    rows = [[column.head for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    lines = ["  ".join(_placed(cell, c) for cell, c in zip(row, columns, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_afterwords(sweep)]) + "\n"


def _columns(order: Sequence[Trial], sweep: SweepView, width: int) -> list[Column]:
    metric = plain(sweep.metric) or "metric"
    rows = [
        (
            number(trial.value),
            str(value_step(trial)) if trial.value is not None else "-",
            number(trial.series.last if trial.series else None),
            f"{trial.facts.number:04d}",
            shorten(params_of(trial), max(20, width // 2)),
            str(trial.facts.seed),
            trial.state.value,
            duration(trial.seconds(sweep.now)),
        )
        for trial in order
    ]
    heads = (f"{order[0].facts.at if order else ''} {metric}", "at step", "last", "trial", "parameters", "seed")
    gives = (0, 3, 4, 0, 0, 2, 0, 1)
    left = {"trial", "parameters", "state"}
    return [
        Column(head=head, cells=[row[i] for row in rows], give=gives[i], right=head not in left)
        for i, head in enumerate((*heads, "state", "time"))
    ]


def _afterwords(sweep: SweepView) -> list[str]:
    told = [trial for trial in sweep.trials if trial.state in (State.PRUNED, State.FAIL)]
    lines = ["", *(f"{trial.facts.number:04d} {end_line(trial)}" for trial in told)] if told else []
    savings = savings_of(sweep)
    if savings.trials:
        spared = f"Pruning {savings.trials} of {len(sweep.trials)} trials saved {savings.steps} steps"
        lines += ["", f"{spared}, about {duration(savings.seconds)} of one slot."]
    return lines


def _placed(cell: str, column: Column) -> str:
    return cell.rjust(column.width) if column.right else cell.ljust(column.width)
