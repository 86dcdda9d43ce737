"""The two pictures of an observation, tensor by tensor in depth order: gradients, and update ratios.

What does not change from frame to frame (axes, names, grid) is drawn once for a model and kept as pixels; a frame
restores them and draws a few lines (matplotlib's blitting). The limits are fixed, so that frames can be compared; what
lies beyond them, zero included, is marked at the edge.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import blended_transform_factory
from PIL import Image

from sweeper.record.events import Observation, Watching
from sweeper.views.names import Depth, depth_of
from sweeper.views.wording import number

SIZE = (1100, 600)
DPI = 100
PNG_LEVEL = 4
MOST_NAMES = 75
DIGIT_WIDTH = 7  # pixels
GRADIENT_LIMITS = (1e-9, 1e1)
RATIO_LIMITS = (1e-8, 1e1)
RULE_OF_THUMB = 1e-3  # CS231n, neural-networks-3
HEALTHY_BAND = (1e-4, 1e-2)

# Okabe and Ito's colours, told apart with every common kind of colour blindness; markers and dashes repeat the message.
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
CURVES = (
    ("grad_max", "max |gradient|", VERMILION, "-", "^"),
    ("grad_std", "standard deviation", GREEN, "--", "s"),
    ("grad_mean", "mean |gradient|", BLUE, "-", "o"),
)
RATIO = ("update_ratio", "update ratio", BLUE, "-", "o")
_ORDINAL = {2: "nd", 3: "rd"}

Values = npt.NDArray[np.float64]


class Curve:
    """A line of one value a tensor on a log axis with fixed limits, and its marks at the edges."""

    def __init__(self, axes: Axes, limits: tuple[float, float], line: Line2D) -> None:
        self._limits = limits
        self._line = line
        (self._below,) = axes.plot([], [], "v", color=line.get_color(), ms=4, animated=True, clip_on=False)
        (self._above,) = axes.plot([], [], "^", color=line.get_color(), ms=4, animated=True, clip_on=False)
        self._axes = axes

    def draw(self, values: Values) -> None:
        """Draw onto the canvas as it is."""
        low, high = self._limits
        x = np.arange(len(values))
        below, above = values < low, values > high
        self._line.set_data(x, np.where(below | above, np.nan, values))
        self._below.set_data(x[below], np.full(below.sum(), low))
        self._above.set_data(x[above], np.full(above.sum(), high))
        for artist in (self._line, self._below, self._above):
            self._axes.draw_artist(artist)


class Sheet:
    """A figure whose still parts are pixels; subclasses add what moves."""

    def __init__(self, depth: Depth, *, panels: Sequence[float]) -> None:
        self._figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI)
        self._canvas: Any = FigureCanvasAgg(self._figure)  # untyped in matplotlib's own stubs
        self._axes: list[Axes] = list(
            self._figure.subplots(
                len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": panels, "hspace": 0.08}
            )[:, 0]
        )
        self._title = self._figure.text(0.075, 0.965, "", fontsize=15, weight="bold", va="center", animated=True)
        self._note = self._figure.text(0.99, 0.965, "", fontsize=9, ha="right", va="center", color=GREY, animated=True)
        self._figure.subplots_adjust(left=0.075, right=0.99, top=0.90, bottom=0.25)
        self._still: object = None
        self._palette: Image.Image | None = None
        _set_depth(self._axes, depth)

    def begin(self, title: str, note: str) -> None:
        """Start a frame."""
        if self._still is None:
            self._canvas.draw()
            self._still = self._canvas.copy_from_bbox(self._figure.bbox)
        self._canvas.restore_region(self._still)
        for text, artist in ((title, self._title), (note, self._note)):
            artist.set_text(text)
            self._figure.draw_artist(artist)

    def png(self) -> bytes:
        """The frame as it stands."""
        buffer = io.BytesIO()
        image = Image.frombuffer("RGBA", SIZE, self._canvas.buffer_rgba()).convert("RGB")
        if self._palette is None:
            self._palette = palette_of(image)
        image.quantize(palette=self._palette, dither=Image.Dither.NONE).save(buffer, "png", compress_level=PNG_LEVEL)
        return buffer.getvalue()


class Gradients(Sheet):
    """Mean, maximum and standard deviation of |gradient| of each tensor; below, the share of zeros."""

    def __init__(self, depth: Depth) -> None:
        super().__init__(depth, panels=(5, 1))
        upper, lower = self._axes
        _set_log(upper, GRADIENT_LIMITS, "|gradient| (loss per unit of parameter)")
        lower.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="share\nof zeros")
        lower.yaxis.label.set_fontsize(9)
        lower.tick_params(axis="y", labelsize=8)
        self._curves = {name: _curve(upper, GRADIENT_LIMITS, style) for name, *style in CURVES}
        (self._zeros,) = lower.plot([], [], "-o", color=PURPLE, ms=2.5, lw=1, animated=True, clip_on=False)
        upper.legend(handles=_legend(CURVES), loc="lower right", fontsize=9, ncols=3, framealpha=0.9)

    def draw(self, statistics: Mapping[str, Values]) -> None:
        """Draw what moves."""
        for name, curve in self._curves.items():
            curve.draw(statistics[name])
        zeros = statistics["grad_zero"]
        self._zeros.set_data(np.arange(len(zeros)), zeros)
        self._axes[1].draw_artist(self._zeros)


class UpdateRatios(Sheet):
    """Norm of the update over norm of the tensor, with the rule of thumb."""

    def __init__(self, depth: Depth) -> None:
        super().__init__(depth, panels=(1,))
        (axes,) = self._axes
        _set_log(axes, RATIO_LIMITS, "update norm / parameter norm")
        band = axes.axhspan(*HEALTHY_BAND, color=GREEN, alpha=0.10, lw=0, label="1e-4 to 1e-2")
        rule = axes.axhline(RULE_OF_THUMB, color=GREEN, lw=1.2, ls="--", label="rule of thumb 1e-3")
        self._curve = _curve(axes, RATIO_LIMITS, RATIO[1:])
        axes.legend(handles=[*_legend([RATIO]), rule, band], loc="lower right", fontsize=9, ncols=3, framealpha=0.9)

    def draw(self, statistics: Mapping[str, Values]) -> None:
        """Draw what moves."""
        self._curve.draw(statistics["update_ratio"])


class Figures:
    """Draws observations; keeps the still parts of the models it drew last, so memory is bounded.

    Not for several threads.
    """

    def __init__(self, models: int = 2) -> None:
        self._models = models
        self._sheets: dict[tuple[tuple[str, ...], tuple[int, ...]], tuple[Depth, Gradients, UpdateRatios]] = {}

    def draw(self, watching: Watching, row: Sequence[float], observation: Observation) -> dict[str, bytes]:
        """PNG pictures `gradients` and `update ratios`, of SIZE pixels, of one row of the side file."""
        depth, gradients, ratios = self._sheets_of(watching)
        table = np.asarray(row, dtype=np.float64).reshape(len(watching.tensors), len(watching.statistics))
        columns = {name: table[depth.order, index] for index, name in enumerate(watching.statistics)}
        taken = "after clipping" if observation.clipped else "before clipping"
        gradients.begin(_title("gradients", observation), _note(depth, columns["grad_mean"], taken))
        gradients.draw(columns)
        ratios.begin(_title("update ratios", observation), _note(depth, columns["update_ratio"]))
        ratios.draw(columns)
        return {"gradients": gradients.png(), "update ratios": ratios.png()}

    def _sheets_of(self, watching: Watching) -> tuple[Depth, Gradients, UpdateRatios]:
        key = (watching.tensors, watching.layer_of)
        sheets = self._sheets.pop(key, None)
        if sheets is None:
            depth = depth_of(watching)
            sheets = (depth, Gradients(depth), UpdateRatios(depth))
        self._sheets[key] = sheets
        while len(self._sheets) > self._models:
            del self._sheets[next(iter(self._sheets))]
        return sheets


def palette_of(image: Image.Image) -> Image.Image:
    """The most frequent of clearly different colours, exact: pale fills stay what they are, and alike in all frames.

    A palette makes a PNG a third as large. Pillow's own quantizers blend pale fills with the white beside them.
    """
    channels = np.asarray(image, dtype=np.uint32)
    packed, counts = np.unique((channels << (16, 8, 0)).sum(axis=2), return_counts=True)
    distinct: dict[tuple[int, ...], tuple[int, ...]] = {}
    for colour in packed[np.argsort(-counts)].tolist():
        rgb = (colour >> 16, colour >> 8 & 255, colour & 255)
        distinct.setdefault(tuple(channel >> 3 for channel in rgb), rgb)
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in list(distinct.values())[:256] for channel in colour])
    return palette


def _title(what: str, observation: Observation) -> str:
    rate, reach = number(observation.learning_rate), number(observation.reach)
    return f"{what} at step {observation.step}   lr {rate}   reach {reach}"


def _note(depth: Depth, values: Values, taken: str = "") -> str:
    """What the curves cannot show: where the gradients were taken, what has no value, which names are left out."""
    every, undefined = _named_every(depth), int(np.isnan(values).sum())
    named = f"every {every}{_ORDINAL.get(every, 'th')} of {len(values)} tensors is named" if every > 1 else ""
    missing = f"{undefined} of {len(values)} undefined" if undefined else ""
    return " · ".join(part for part in (missing, named, taken) if part)


def _set_log(axes: Axes, limits: tuple[float, float], label: str) -> None:
    axes.set_yscale("log")
    low, high = (round(np.log10(limit)) for limit in limits)
    axes.set_ylim(*limits)
    axes.set_yticks([10.0**power for power in range(low, high + 1)])
    axes.set_ylabel(label)
    axes.minorticks_off()


def _set_depth(panels: Sequence[Axes], depth: Depth) -> None:
    """The shared horizontal axis: names of tensors below, blocks as bands with their numbers above."""
    count = len(depth.names)
    every = _named_every(depth)
    for axes in panels:
        axes.set_xlim(-0.6, count - 0.4)
        axes.grid(axis="y", color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=2)
        _set_bands(axes, depth, numbered=axes is panels[0])
    bottom = panels[-1]
    bottom.set_xticks(range(0, count, every))
    size = 8 if count <= MOST_NAMES // 2 else 7  # points
    for label in bottom.set_xticklabels(depth.names[::every], rotation=90, fontsize=size):
        label.set_parse_math(False)


def _named_every(depth: Depth) -> int:
    return -(-len(depth.names) // MOST_NAMES)


def _set_bands(axes: Axes, depth: Depth, *, numbered: bool) -> None:
    begin, shade = 0, False
    for end in range(1, len(depth.blocks) + 1):
        if end < len(depth.blocks) and depth.blocks[end] == depth.blocks[begin]:
            continue
        block = depth.blocks[begin]
        if block:
            shade = not shade
            if shade:
                axes.axvspan(begin - 0.5, end - 0.5, color="#f1f1f4", lw=0, zorder=0)
            room = (end - begin) * SIZE[0] / len(depth.blocks)
            if numbered and room > DIGIT_WIDTH * len(block):
                label = Text((begin + end - 1) / 2, 1.01, block, fontsize=8, ha="center", va="bottom", color=GREY)
                label.set_transform(blended_transform_factory(axes.transData, axes.transAxes))
                label.set_clip_on(False)
                axes.add_artist(label)
        begin = end


def _curve(axes: Axes, limits: tuple[float, float], style: Sequence[str]) -> Curve:
    label, color, dash, marker = style
    (line,) = axes.plot([], [], dash, marker=marker, color=color, label=label, ms=3.5, lw=1.6, animated=True)
    return Curve(axes, limits, line)


def _legend(curves: Sequence[tuple[str, str, str, str, str]]) -> list[Line2D]:
    return [Line2D([], [], ls=dash, marker=mark, color=c, ms=4, label=label) for _, label, c, dash, mark in curves]
