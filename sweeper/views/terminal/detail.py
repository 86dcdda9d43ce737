"""One trial in place of the table: its receipt, or the end of its output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from sweeper.results.columns import shorten
from sweeper.results.receipt import last_lines, receipt
from sweeper.results.snapshot import SweepView
from sweeper.results.wording import fold_line
from sweeper.views.terminal.screen import OUTPUT, Screen


def pane_of(screen: Screen, sweep: SweepView, *, width: int, height: int) -> RenderableType | None:
    """What the screen shows of its trial, in so many lines at most; None where it is to show the table."""
    trial = next((trial for trial in sweep.trials if trial.facts.number == screen.chosen), None)
    if trial is None or not screen.pane:
        return None
    if screen.pane == OUTPUT:
        head = f"trial {trial.facts.number:04d}: {trial.state.value}: {trial.attempt.output}"
        tail = last_lines(trial.attempt.output, height - 2) or ["(it has printed nothing)"]
        return _lines([head, "", *tail], width)
    siblings = [other for other in sweep.trials if other is not trial]
    text = [part for line in receipt(trial, siblings).split("\n") for part in fold_line(line, width).split("\n")]
    top = min(screen.top, max(0, len(text) - height))
    return _lines(text[top : top + height], width)


def _lines(lines: Sequence[str], width: int) -> Text:
    return Text("\n".join(shorten(line, width) for line in lines))
