"""The charts of the report, each an SVG that stands in the page: grey on no ground, to be read light and dark."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.record.fold import State
from sweeper.views.figures.canvas import BLUE, GREEN, GREY, PURPLE, VERMILION
from sweeper.views.report.axis import MOST_TICKS, ParameterAxis, label, normal
from sweeper.views.report.clock import Clock
from sweeper.views.report.course import Course

INK = "#808080"
GROUND = "#010203"
"""Stands for the colour of the page, which is not the same by day and by night."""
WIDTH = 9.0  # inches
MOST_NAMED = 8
"""Curves at whose ends there is room for the numbers of their trials."""
FEW_POINTS = 12
"""Each of so few points is marked: one alone is no line."""
MANY = 300
"""Of so many marks, a picture is smaller than their outlines."""
LEAST_LABELLED = 0.035
"""The part of the width of a timeline below which a bar has no room for its number."""
UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
FEWEST_UNITS = 3
"""Of a unit of time, for an axis in it."""
COLOURS: Mapping[State, str] = {
    State.COMPLETE: BLUE,
    State.PRUNED: VERMILION,
    State.FAIL: PURPLE,
    State.RUNNING: GREEN,
    State.PAUSED: GREY,
    State.WAITING: GREY,
}
WORDS = {
    State.COMPLETE: "complete",
    State.PRUNED: "pruned",
    State.FAIL: "failed",
    State.RUNNING: "running",
    State.PAUSED: "paused",
    State.WAITING: "interrupted",
}
STYLE: Any = {  # matplotlib's stubs know its keys one by one
    "svg.fonttype": "none",  # text stays text, in the reader's font
    "svg.hashsalt": "sweeper",  # the same page for the same record
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}

_LABEL: Any = {
    "fontsize": 7,
    "va": "center",
    "zorder": 5,
    "bbox": {"facecolor": GROUND, "edgecolor": "none", "pad": 1, "alpha": 0.85},
}

Points = Sequence[tuple[int, float]]


def curves(courses: Sequence[Course], points: Callable[[Course], Points], name: str, *, log: bool = False) -> str:
    """One line a trial, by step, in the colour of its state; a pruned one ends in a cross. Empty without points."""
    drawn = [(course, points(course)) for course in courses]
    drawn = [(course, line) for course, line in drawn if line]
    if not drawn:
        return ""

    def draw(axes: Axes) -> None:
        # The best are drawn last, and where they are many the others are fainter.
        for place, (course, line) in reversed(list(enumerate(drawn))):
            steps, values = zip(*line, strict=True)
            shown = [value if math.isfinite(value) and (value > 0 or not log) else math.nan for value in values]
            state = course.trial.state
            faint = 0.6 * place / len(drawn) if len(drawn) > MOST_NAMED and state is State.COMPLETE else 0.0
            marker = "." if len(line) <= FEW_POINTS else ""
            axes.plot(steps, shown, marker=marker, color=COLOURS[state], lw=1.2, alpha=0.85 - faint)
            if state is State.PRUNED and math.isfinite(shown[-1]):
                axes.plot(steps[-1], shown[-1], "x", color=COLOURS[state], ms=6)
            if len(drawn) <= MOST_NAMED and math.isfinite(shown[-1]):
                at: Any = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
                axes.annotate(course.number, (steps[-1], shown[-1]), color=COLOURS[state], fontsize=7, **at)
        if log:
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(label(name))
        _legend(axes, (course.trial.state for course, _ in drawn))

    return _svg(draw, 3.2)


def slices(courses: Sequence[Course], metric: str) -> str:
    """The value of each trial over each parameter that varies. Empty where none does."""
    valued = [course for course in courses if course.trial.value is not None]
    names = _varied(valued)
    if not names:
        return ""
    columns = min(3, len(names))
    rows = -(-len(names) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, name in zip(panels.flat, [*names, *[""] * (rows * columns - len(names))], strict=True):
            if not name:
                panel.set_visible(False)
                continue
            axis = ParameterAxis.of([course.trial.facts.params.get(name) for course in valued])
            colours = [COLOURS[course.trial.state] for course in valued]
            values = [course.trial.value for course in valued]
            panel.scatter(axis.places, values, c=colours, s=22, alpha=_alpha(valued), lw=0, rasterized=_many(valued))
            axis.scale(panel)
            panel.set_xlabel(label(name))
        for row in panels:
            row[0].set_ylabel(label(metric))

    return _drawn(draw, 2.4 * rows)


def parallel(courses: Sequence[Course], metric: str) -> str:
    """Parallel coordinates: a line a trial through its parameters to its value. Empty below two varied parameters."""
    valued = [course for course in courses if course.trial.value is not None]
    names = _varied(valued)
    if len(names) < 2 or len(valued) < 2:  # noqa: PLR2004 - one axis is a slice
        return ""

    def draw(axes: Axes) -> None:
        heights = []
        for position, name in enumerate(names):
            axis = ParameterAxis.of([course.trial.facts.params.get(name) for course in valued])
            height = normal(axis.places, log=axis.log)
            heights.append(height)
            at = sorted(set(zip(height, axis.labels(), strict=True)))
            for y, text in at if len(at) <= MOST_TICKS else (at[0], at[-1]):
                axes.text(position + 0.04, y, label(text), **_LABEL)
        values = [course.trial.value or 0.0 for course in valued]
        heights.append(normal(values, log=False))
        colours = LinearSegmentedColormap.from_list("", [INK, BLUE])  # both are seen by day and by night
        maximize = valued[0].trial.facts.maximize
        goodness = [value if maximize else 1 - value for value in heights[-1]]
        rows = sorted(zip(goodness, zip(*heights, strict=True), strict=True))  # the best are drawn last
        axes.add_collection(
            LineCollection(
                [list(enumerate(row)) for _, row in rows],
                colors=[(*colours(value)[:3], _alpha(valued) * (0.3 + 0.7 * value)) for value, _ in rows],
                linewidths=1.4,
                rasterized=_many(valued),
            )
        )
        axes.set(xlim=(-0.1, len(names) + 0.4), ylim=(-0.05, 1.05))
        axes.set_xticks(range(len(names) + 1), [label(name) for name in (*names, metric)])
        axes.set_yticks([])
        for position in range(len(names) + 1):
            axes.axvline(position, color=INK, lw=0.8)
        low, high = min(values), max(values)
        for y, value in ((0, low), (1, high)):
            axes.text(len(names) + 0.04, y, f"{value:.4g}", **_LABEL)
        axes.spines[:].set_visible(b=False)

    return _svg(draw, 3.2)


def bars(shares: Mapping[str, float], name: str) -> str:
    """Horizontal bars, the largest above. Empty where there are none."""
    if not shares:
        return ""
    names = sorted(shares, key=lambda name: shares[name])

    def draw(axes: Axes) -> None:
        axes.barh([label(name) for name in names], [shares[name] for name in names], color=BLUE, height=0.6)
        axes.set_xlabel(name)

    return _svg(draw, 0.6 + 0.3 * len(names))


def timeline(courses: Sequence[Course], now: float) -> str:
    """Which slot ran which trial when: a bar an attempt. Empty before the first."""
    spans = [(course, *span) for course in courses for span in course.spans(now)]
    if not spans:
        return ""
    slots = sorted({slot for _, slot, _, _ in spans})
    clock = Clock.of([(begin, end) for *_, begin, end in spans])
    unit, name = next((unit, name) for unit, name in UNITS if clock.total >= FEWEST_UNITS * unit or unit == 1)

    def draw(axes: Axes) -> None:
        rows = [slots.index(slot) for _, slot, _, _ in spans]
        lefts = [clock.at(begin) / unit for *_, begin, _ in spans]
        widths = [max(end - begin, 0.0) / unit for *_, begin, end in spans]
        colours = [COLOURS[course.trial.state] for course, *_ in spans]
        edge: Any = {"edgecolor": GROUND, "linewidth": 0.0 if _many(spans) else 0.5}
        axes.barh(rows, widths, left=lefts, height=0.7, color=colours, rasterized=_many(spans), **edge)
        for cut in clock.cuts:
            axes.axvline(cut / unit, color=INK, lw=0.8, ls="--")
        for (course, *_), row, left, width in zip(spans, rows, lefts, widths, strict=True):
            if width >= clock.total / unit * LEAST_LABELLED:  # a number without room covers its neighbour's
                axes.text(left, row, f" {course.number}", fontsize=7, va="center", color="white", clip_on=True)
        axes.set_yticks(range(len(slots)), [label(slot) for slot in slots])
        axes.invert_yaxis()
        axes.set_xlabel(f"{name} since the first trial began{', without those cut' if clock.cuts else ''}")
        _legend(axes, (course.trial.state for course, *_ in spans))

    return _svg(draw, 0.9 + 0.35 * len(slots))


# ---- drawing ------------------------------------------------------------------------------------------------------


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    return _drawn(lambda figure: draw(figure.subplots()), height)


def _drawn(draw: Callable[[Figure], None], height: float) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        text = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)  # untyped in matplotlib's own stubs
        canvas.print_svg(text, metadata={"Date": None})
    svg = text.getvalue().replace(GROUND, "var(--ground)")
    return svg[svg.index("<svg") :]


def _legend(axes: Axes, states: Iterable[State]) -> None:
    shown = set(states)
    handles = [Line2D([], [], color=COLOURS[state], label=WORDS[state]) for state in COLOURS if state in shown]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _many(marks: Sequence[object]) -> bool:
    return len(marks) > MANY


def _alpha(marks: Sequence[object]) -> float:
    """Fainter where there are many, so that where they lie close is seen."""
    return max(0.25, min(0.8, 80 / max(1, len(marks))))


def _varied(courses: Sequence[Course]) -> list[str]:
    return list(dict.fromkeys(name for course in courses for name in course.trial.facts.shown))
