"""The chart of the Pareto front in the report: the trials over each pair of objectives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.record.trial import TrialRecord
from sweeper.results.front_points import BEYOND_WORDS, FRONT_WORDS, FrontPoints, better_word, front_points
from sweeper.views.figures.canvas import GREY, VERMILION
from sweeper.views.report import charts
from sweeper.views.report.axes import label
from sweeper.views.report.trial_curves import TrialCurves

COLUMNS = 3


def front(plotted: Sequence[TrialCurves]) -> str:
    """Draw the objectives of each trial, two at a time. Return the SVG; empty with one objective or without values."""
    points = front_points(item.trial for item in plotted)
    if points is None:
        return ""
    pairs = points.pairs
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel, pair in itertools.zip_longest(panels.flat, pairs):
            if pair is None:
                panel.set_visible(False)
            else:
                _panel(panel, points, *pair)
        _legend(panels.flat[columns - 1], points.trials)

    return charts.drawn(draw, 3.4 if rows == 1 else 2.6 * rows)


def _panel(axes: Axes, chart: FrontPoints, first: int, second: int) -> None:
    trials, members = chart.trials, chart.front
    points = [_pair(trial, first, second) for trial in trials]
    colours = [charts.COLOURS[trial.state] for trial in trials]
    for mark, kept in (("o", True), ("x", False)):
        chosen = [index for index, trial in enumerate(trials) if trial.is_feasible == kept]
        xs, ys = [points[i][0] for i in chosen], [points[i][1] for i in chosen]
        axes.scatter(xs, ys, c=[colours[i] for i in chosen], marker=mark, s=24, alpha=0.8, lw=0 if kept else 1.2)
    best = [_pair(trial, first, second) for trial in members]
    axes.scatter([x for x, _ in best], [y for _, y in best], s=70, facecolors="none", edgecolors=VERMILION, lw=1.3)
    if chart.is_stepped:
        # Between two of its points, the front has the worse value of both.
        bound = sorted(best)
        steps = "steps-pre" if chart.goals[first].maximize else "steps-post"
        axes.plot(
            [x for x, _ in bound], [y for _, y in bound], drawstyle=steps, color=VERMILION, lw=0.8, ls="--", zorder=0
        )
    if len(best) <= charts.MOST_NAMED:
        for x, y in dict.fromkeys(best):
            alike = [trial for trial, point in zip(members, best, strict=True) if point == (x, y)]
            name = ", ".join(f"{trial.facts.number:04d}" for trial in alike)
            axes.annotate(name, (x, y), xytext=(6, 4), textcoords="offset points", fontsize=7, color=charts.INK)
    for axis, index in (("x", first), ("y", second)):
        if chart.is_logarithmic(index):
            (axes.set_xscale if axis == "x" else axes.set_yscale)("log")
        text = f"{label(chart.goals[index].name)} ({better_word(chart.goals[index])})"
        (axes.set_xlabel if axis == "x" else axes.set_ylabel)(text)


def _pair(trial: TrialRecord, first: int, second: int) -> tuple[float, float]:
    values = trial.values or ()
    return values[first], values[second]


def _legend(axes: Axes, trials: Sequence[TrialRecord]) -> None:
    shown = {trial.state for trial in trials}
    dot: Any = {"linestyle": "none", "markersize": 5}
    handles = [
        Line2D([], [], color=charts.COLOURS[state], marker="o", label=charts.WORDS[state], **dot)
        for state in charts.COLOURS
        if state in shown
    ]
    if not all(trial.is_feasible for trial in trials):
        handles.append(Line2D([], [], color=GREY, marker="x", label=BEYOND_WORDS, **dot))
    ring: Any = {"markeredgecolor": VERMILION, "markerfacecolor": "none", "linestyle": "none", "markersize": 8}
    handles.append(Line2D([], [], marker="o", label=FRONT_WORDS, **ring))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
