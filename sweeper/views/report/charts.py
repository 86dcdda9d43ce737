"""The charts of the report, each an SVG in the page: transparent with grey text, readable in light and dark mode."""

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

from sweeper.record.trial import State
from sweeper.record.values.extremes import tamed
from sweeper.record.values.redaction import redacted_value
from sweeper.results.captions import STATES
from sweeper.results.scales import normalized
from sweeper.views.figures.canvas import BLUE, GREEN, GREY, PURPLE, VERMILION
from sweeper.views.report.axes import MOST_TICKS, ParameterAxis, TimeAxis, label
from sweeper.views.report.trial_curves import TrialCurves

INK = "#808080"
GROUND = "#010203"
"""A placeholder for the colour of the page, which differs between light and dark mode."""
WIDTH = 9.0  # inches
MOST_NAMED = 8
"""Maximum number of curves that are labelled with their trial numbers."""
FEW_POINTS = 12
"""Maximum number of points of a curve that are marked; a single point would not be visible as a line."""
MANY = 300
"""Number of marks above which a raster image is smaller than their outlines."""
LEAST_LABELLED = 0.035
"""Minimum width of a bar that is labelled, as a fraction of the width of the timeline."""
UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
FEWEST_UNITS = 3
"""Minimum length of a time axis in its unit."""
COLOURS: Mapping[State, str] = {
    State.COMPLETE: BLUE,
    State.PRUNED: VERMILION,
    State.FAIL: PURPLE,
    State.RUNNING: GREEN,
    State.PAUSED: GREY,
    State.WAITING: GREY,
}
WORDS: Mapping[State, str] = {**STATES, State.WAITING: "interrupted"}
"""The states of trials that have run, in words."""
STYLE: Any = {  # matplotlib's stubs know its keys one by one
    "svg.fonttype": "none",  # keep text as text, in the reader's font
    "svg.hashsalt": "sweeper",  # make the same page from the same record
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


def curves(
    plotted: Sequence[TrialCurves],
    points: Callable[[TrialCurves], Points],
    name: str,
    *,
    log: bool = False,
    top: float | None = None,
) -> str:
    """Draw one line per trial over steps, in the colour of its state, with a cross at the end of pruned trials.

    Args:
        plotted: the trials, best first.
        points: the points of a trial, by step.
        name: the name of the values.
        log: whether the scale is logarithmic.
        top: the end of a logarithmic scale; curves that go higher have their numbers there. None for the highest value.

    Returns:
        The SVG; empty without points.
    """
    drawn = [(item, points(item)) for item in plotted]
    drawn = [(item, line) for item, line in drawn if line]
    if not drawn:
        return ""

    def draw(axes: Axes) -> None:
        # The best are drawn last; if there are many, the others are fainter.
        for rank, (item, line) in reversed(list(enumerate(drawn))):
            steps, values = zip(*line, strict=True)
            shown = [value if math.isfinite(value) and (value > 0 or not log) else math.nan for value in values]
            state = item.trial.state
            faint = 0.6 * rank / len(drawn) if len(drawn) > MOST_NAMED and state is State.COMPLETE else 0.0
            marker = "." if len(line) <= FEW_POINTS else ""
            axes.plot(steps, shown, marker=marker, color=COLOURS[state], lw=1.2, alpha=0.85 - faint)
            if state is State.PRUNED and math.isfinite(shown[-1]):
                axes.plot(steps[-1], shown[-1], "x", color=COLOURS[state], ms=6)
            beyond = [step for step, value in zip(steps, shown, strict=True) if top is not None and value > top]
            if len(drawn) <= MOST_NAMED and (beyond or math.isfinite(shown[-1])):
                end = (beyond[0], top) if beyond else (steps[-1], shown[-1])
                at: Any = {"xytext": (5, 0), "textcoords": "offset points", "va": "top" if beyond else "center"}
                axes.annotate(item.number, end, color=COLOURS[state], fontsize=7, **at)
        if log:
            axes.set_yscale("log")
        if top is not None:
            axes.set_ylim(min(value for _, line in drawn for _, value in line if math.isfinite(value)) / 2, top)
        axes.set_xlabel("step")
        axes.set_ylabel(label(name))
        _legend(axes, (item.trial.state for item, _ in drawn))

    return _svg(draw, 3.2)


def slices(plotted: Sequence[TrialCurves], metric: str, *, log: bool = False) -> str:
    """Draw the value of each trial over each varied parameter. Return the SVG; empty if no parameter varies."""
    valued = [item for item in plotted if item.trial.value is not None]
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
            axis = ParameterAxis.of([redacted_value(name, item.trial.facts.params.get(name)) for item in valued])
            colours = [COLOURS[item.trial.state] for item in valued]
            values = [tamed(item.trial.value or 0.0) for item in valued]
            panel.scatter(axis.positions, values, c=colours, s=22, alpha=_alpha(valued), lw=0, rasterized=_many(valued))
            axis.scale(panel)
            panel.set_xlabel(label(name))
        for row in panels:
            row[0].set_ylabel(label(metric))
            if log:  # the panels share the axis
                row[0].set_yscale("log")

    return drawn(draw, 2.4 * rows)


def parallel(plotted: Sequence[TrialCurves], metric: str) -> str:
    """Draw parallel coordinates: one line per trial through its parameters to its value.

    Returns:
        The SVG; empty for fewer than two varied parameters or two trials with a value.
    """
    valued = [item for item in plotted if item.trial.value is not None]
    names = _varied(valued)
    if len(names) < 2 or len(valued) < 2:  # noqa: PLR2004 - one parameter is shown by `slices`
        return ""

    def draw(axes: Axes) -> None:
        heights = []
        for position, name in enumerate(names):
            axis = ParameterAxis.of([redacted_value(name, item.trial.facts.params.get(name)) for item in valued])
            height = normalized(axis.positions, log=axis.log)
            heights.append(height)
            at = sorted(set(zip(height, axis.labels(), strict=True)))
            for y, text in at if len(at) <= MOST_TICKS else (at[0], at[-1]):
                axes.text(position + 0.04, y, label(text), **_LABEL)
        values = [tamed(item.trial.value or 0.0) for item in valued]
        heights.append(normalized(values, log=False))
        colours = LinearSegmentedColormap.from_list("", [INK, BLUE])  # both are visible in light and dark mode
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
    """Draw horizontal bars, the largest at the top. Return the SVG; empty without bars."""
    if not shares:
        return ""
    names = sorted(shares, key=lambda name: shares[name])

    def draw(axes: Axes) -> None:
        axes.barh([label(name) for name in names], [shares[name] for name in names], color=BLUE, height=0.6)
        axes.set_xlabel(name)

    return _svg(draw, 0.6 + 0.3 * len(names))


def timeline(plotted: Sequence[TrialCurves], now: float) -> str:
    """Draw which slot ran which trial when, one bar per attempt. Return the SVG; empty without attempts."""
    spans = [(item, *span) for item in plotted for span in item.spans(now)]
    if not spans:
        return ""
    slots = sorted({slot for _, slot, _, _ in spans})
    axis = TimeAxis.of([(begin, end) for *_, begin, end in spans])
    unit, name = next((unit, name) for unit, name in UNITS if axis.total >= FEWEST_UNITS * unit or unit == 1)

    def draw(axes: Axes) -> None:
        rows = [slots.index(slot) for _, slot, _, _ in spans]
        lefts = [axis.at(begin) / unit for *_, begin, _ in spans]
        widths = [max(end - begin, 0.0) / unit for *_, begin, end in spans]
        colours = [COLOURS[item.trial.state] for item, *_ in spans]
        edge: Any = {"edgecolor": GROUND, "linewidth": 0.0 if _many(spans) else 0.5}
        axes.barh(rows, widths, left=lefts, height=0.7, color=colours, rasterized=_many(spans), **edge)
        for cut in axis.cuts:
            axes.axvline(cut / unit, color=INK, lw=0.8, ls="--")
        for (item, *_), row, left, width in zip(spans, rows, lefts, widths, strict=True):
            if width >= axis.total / unit * LEAST_LABELLED:  # otherwise the number would overlap the next one
                axes.text(left, row, f" {item.number}", fontsize=7, va="center", color="white", clip_on=True)
        axes.set_yticks(range(len(slots)), [label(slot) for slot in slots])
        axes.invert_yaxis()
        axes.set_xlabel(f"{name} since the first trial began{' (idle time cut out)' if axis.cuts else ''}")
        _legend(axes, (item.trial.state for item, *_ in spans))

    return _svg(draw, 0.9 + 0.35 * len(slots))


# ---- drawing --------------------------------------------------------------------------------------------------------


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    return drawn(lambda figure: draw(figure.subplots()), height)


def drawn(draw: Callable[[Figure], None], height: float) -> str:
    """Draw a figure of this height in inches. Return the SVG."""
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
    """Return an opacity that decreases with the number of marks, so that dense regions are visible."""
    return max(0.25, min(0.8, 80 / max(1, len(marks))))


def _varied(plotted: Sequence[TrialCurves]) -> list[str]:
    return list(dict.fromkeys(name for item in plotted for name in item.trial.facts.shown))
