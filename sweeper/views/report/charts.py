"""The charts of the report, each an SVG that stands in the page: grey on no ground, to be read light and dark."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sweeper.record.fold import State
from sweeper.record.trial import spelled
from sweeper.views.report.course import Course
from sweeper.views.sheet import BLUE, GREEN, GREY, PURPLE, VERMILION
from sweeper.views.table import shorten
from sweeper.views.wording import plain

INK = "#808080"
WIDTH = 9.0  # inches
LONGEST = 24
"""Characters of a label."""
MOST_TICKS = 6
FEW_POINTS = 12
"""Each of so few points is marked: one alone is no line."""
LOG_FROM = 5.0
"""Values that span at least this factor stand on a logarithmic axis."""
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

Points = Sequence[tuple[int, float]]


def curves(courses: Sequence[Course], points: Callable[[Course], Points], label: str, *, log: bool = False) -> str:
    """One line a trial, by step, in the colour of its state; a pruned one ends in a cross. Empty without points."""
    drawn = [(course, points(course)) for course in courses]
    drawn = [(course, line) for course, line in drawn if line]
    if not drawn:
        return ""

    def draw(axes: Axes) -> None:
        for course, line in drawn:
            steps, values = zip(*line, strict=True)
            shown = [value if math.isfinite(value) and (value > 0 or not log) else math.nan for value in values]
            state = course.trial.state
            marker = "." if len(line) <= FEW_POINTS else ""
            axes.plot(steps, shown, marker=marker, color=COLOURS[state], lw=1.2, alpha=0.8)
            if state is State.PRUNED and math.isfinite(shown[-1]):
                axes.plot(steps[-1], shown[-1], "x", color=COLOURS[state], ms=6)
        if log:
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(_plain(label))
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
            axis = _Axis.of([course.trial.facts.params.get(name) for course in valued])
            for course, place in zip(valued, axis.places, strict=True):
                panel.plot(place, course.trial.value, "o", color=COLOURS[course.trial.state], ms=5, alpha=0.7)
            axis.scale(panel)
            panel.set_xlabel(_plain(name))
        for row in panels:
            row[0].set_ylabel(_plain(metric))

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
            axis = _Axis.of([course.trial.facts.params.get(name) for course in valued])
            height = _normal(axis.places, log=axis.log)
            heights.append(height)
            at = sorted(set(zip(height, axis.labels(), strict=True)))
            for y, text in at if len(at) <= MOST_TICKS else (at[0], at[-1]):
                axes.text(position + 0.03, y, _plain(text), fontsize=7, va="center")
        values = [course.trial.value or 0.0 for course in valued]
        heights.append(_normal(values, log=False))
        colours = mpl.colormaps["viridis"]
        maximize = valued[0].trial.facts.maximize
        for row, value in sorted(zip(zip(*heights, strict=True), heights[-1], strict=True), key=lambda pair: pair[1]):
            axes.plot(range(len(row)), row, color=colours(value if maximize else 1 - value), lw=1.4, alpha=0.8)
        axes.set_xticks(range(len(names) + 1), [_plain(name) for name in (*names, metric)])
        axes.set_yticks([])
        for position in range(len(names) + 1):
            axes.axvline(position, color=INK, lw=0.8)
        low, high = min(values), max(values)
        axes.text(len(names) + 0.03, 0, f"{low:.4g}", fontsize=7, va="center")
        axes.text(len(names) + 0.03, 1, f"{high:.4g}", fontsize=7, va="center")
        axes.spines[:].set_visible(b=False)

    return _svg(draw, 3.2)


def bars(shares: Mapping[str, float], label: str) -> str:
    """Horizontal bars, the largest above. Empty where there are none."""
    if not shares:
        return ""
    names = sorted(shares, key=lambda name: shares[name])

    def draw(axes: Axes) -> None:
        axes.barh([_plain(name) for name in names], [shares[name] for name in names], color=BLUE, height=0.6)
        axes.set_xlabel(label)

    return _svg(draw, 0.6 + 0.3 * len(names))


def timeline(courses: Sequence[Course], now: float) -> str:
    """Which slot ran which trial when: a bar an attempt. Empty before the first."""
    spans = [(course, *span) for course in courses for span in course.spans(now)]
    if not spans:
        return ""
    slots = sorted({slot for _, slot, _, _ in spans})
    start = min(begin for _, _, begin, _ in spans)

    def draw(axes: Axes) -> None:
        for course, slot, begin, end in spans:
            at = (begin - start) / 60
            width = max(end - begin, 0.0) / 60
            axes.barh(slots.index(slot), width, left=at, height=0.7, color=COLOURS[course.trial.state], alpha=0.75)
            axes.text(at, slots.index(slot), f" {course.number}", fontsize=6, va="center", clip_on=True)
        axes.set_yticks(range(len(slots)), [_plain(slot) for slot in slots])
        axes.set_xlabel("minutes since the first trial began")
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
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _legend(axes: Axes, states: Iterable[State]) -> None:
    shown = set(states)
    handles = [Line2D([], [], color=COLOURS[state], label=WORDS[state]) for state in COLOURS if state in shown]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)


def _varied(courses: Sequence[Course]) -> list[str]:
    return list(dict.fromkeys(name for course in courses for name in course.trial.facts.shown))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Where the values of a parameter stand: numbers where they are, everything else by name, evenly."""

    values: Sequence[object]
    places: Sequence[float]
    log: bool

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and all(map(math.isfinite, numbers)):
            log = min(numbers) > 0 and max(numbers) >= LOG_FROM * min(numbers)
            return cls(values=values, places=numbers, log=log)
        names = sorted({str(value) for value in values})
        return cls(values=values, places=[float(names.index(str(value))) for value in values], log=False)

    def labels(self) -> list[str]:
        return [spelled(value) for value in self.values]

    def scale(self, axes: Axes) -> None:
        """A tick at each value where they are few, else wherever matplotlib puts them."""
        if self.log:
            axes.set_xscale("log")
        ticks = dict(zip(self.places, self.labels(), strict=True))
        if len(ticks) <= MOST_TICKS:
            axes.minorticks_off()
            axes.set_xticks(list(ticks), [_plain(label) for label in ticks.values()])
            axes.margins(x=0.15)


def _normal(places: Sequence[float], *, log: bool) -> list[float]:
    """From 0 to 1; a half where all are alike."""
    values = np.log(places) if log else np.asarray(places, float)
    low, span = values.min(), np.ptp(values)
    return [0.5] * len(values) if not span else [float(value) for value in (values - low) / span]


def _plain(text: object) -> str:
    """Short, no formula, and nothing that a font has no sign for, whatever it holds."""
    return shorten(plain(text), LONGEST).replace("$", r"\$")
