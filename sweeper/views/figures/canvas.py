"""The parts that all pictures share: colours, a canvas that caches what does not change, and curves on log axes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

DPI = 100
PNG_LEVEL = 4
HEAD = 72  # pixels above the axes, for title and note

# The colours of Okabe and Ito, distinguishable with every common colour blindness; markers and dashes differ as well.
BLUE, VERMILION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"

Style = tuple[str, str, str, str]
"""Label, colour, dash, marker."""

Values = npt.NDArray[np.float64]


class LogCurve:
    """A line on a log axis with fixed limits; values beyond the limits are marked at the edges."""

    def __init__(self, axes: Axes, limits: tuple[float, float], line: Line2D) -> None:
        self._limits = limits
        self._line = line
        (self._below,) = axes.plot([], [], "v", color=line.get_color(), ms=4, animated=True, clip_on=False)
        (self._above,) = axes.plot([], [], "^", color=line.get_color(), ms=4, animated=True, clip_on=False)
        self._axes = axes

    def draw(self, values: Values, x: npt.NDArray[np.int64] | None = None) -> None:
        """Draw the values onto the canvas.

        Args:
            x: horizontal positions (default: 0, 1, 2, ...).
        """
        low, high = self._limits
        x = np.arange(len(values)) if x is None else x
        below, above = values < low, values > high
        self._line.set_data(x, np.where(below | above, np.nan, values))
        self._below.set_data(x[below], np.full(below.sum(), low))
        self._above.set_data(x[above], np.full(above.sum(), high))
        for artist in (self._line, self._below, self._above):
            self._axes.draw_artist(artist)


class Picture:
    """A figure with panels below each other. Everything that does not change between frames is cached as pixels.

    Subclasses draw what changes.

    Args:
        size: width and height in pixels.
        panels: relative heights of the panels.
        left: left edge of the panels, as a fraction of the figure; likewise `bottom` and `right`.
    """

    def __init__(
        self, size: tuple[int, int], panels: Sequence[float], *, left: float, bottom: float, right: float = 0.99
    ) -> None:
        self._size = size
        self._figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI)
        self._canvas: Any = FigureCanvasAgg(self._figure)  # untyped in matplotlib's own stubs
        self._axes: list[Axes] = list(
            self._figure.subplots(
                len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": panels, "hspace": 0.08}
            )[:, 0]
        )
        top = 1 - HEAD / size[1]
        self._figure.subplots_adjust(left=left, right=right, top=top, bottom=bottom)
        self._title = self._figure.text(
            0.075, 1 - 18 / size[1], "", fontsize=15, weight="bold", va="center", animated=True
        )
        self._note = self._figure.text(0.075, 1 - 42 / size[1], "", fontsize=9, va="center", color=GREY, animated=True)
        self._background: object = None
        self._palette: Image.Image | None = None

    def begin(self, title: str, note: str) -> None:
        """Start a frame."""
        if self._background is None:
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(self._figure.bbox)
        self._canvas.restore_region(self._background)
        for text, artist in ((title, self._title), (note, self._note)):
            artist.set_text(text)
            self._figure.draw_artist(artist)

    def png(self) -> bytes:
        """Return the current frame as a PNG."""
        buffer = io.BytesIO()
        image = Image.frombuffer("RGBA", self._size, self._canvas.buffer_rgba()).convert("RGB")
        if self._palette is None:
            self._palette = palette_of(image)
        image.quantize(palette=self._palette, dither=Image.Dither.NONE).save(buffer, "png", compress_level=PNG_LEVEL)
        return buffer.getvalue()


def palette_of(image: Image.Image) -> Image.Image:
    """Return the most frequent clearly different colours of an image as a palette, without changing them.

    A palette makes a PNG a third as large. Pillow's own quantizers blend pale fills with the white beside them, and
    differently in each frame.
    """
    channels = np.asarray(image, dtype=np.uint32)
    packed, counts = np.unique((channels << (16, 8, 0)).sum(axis=2), return_counts=True)
    distinct: dict[tuple[int, ...], tuple[int, ...]] = {}
    for colour in packed[np.argsort(-counts)].tolist():
        rgb = (colour >> 16, colour >> 8 & 255, colour & 255)
        distinct.setdefault(tuple(channel >> 3 for channel in rgb), rgb)
    return palette_with(list(distinct.values()))


def palette_with(colours: Sequence[Sequence[int]]) -> Image.Image:
    """Return a palette of the first 256 of these colours (red, green and blue, 0 to 255)."""
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in colours[:256] for channel in colour])
    return palette


def blends(colour: str, count: int) -> list[tuple[int, ...]]:
    """Return `count` even steps from a colour to white, as at the antialiased edges of lines and letters."""
    steps = np.linspace(to_rgb(colour), (1.0, 1.0, 1.0), count)
    return [tuple(step) for step in np.rint(255 * steps).astype(int).tolist()]


def set_log(axes: Axes, limits: tuple[float, float], label: str) -> None:
    """Set fixed limits on a log axis, with a tick at every power of ten."""
    axes.set_yscale("log")
    low, high = (round(np.log10(limit)) for limit in limits)
    axes.set_ylim(*limits)
    axes.set_yticks([10.0**power for power in range(low, high + 1)])
    axes.set_ylabel(label)
    axes.minorticks_off()


def log_curve(axes: Axes, limits: tuple[float, float], style: Style) -> LogCurve:
    """Return a curve without values."""
    label, color, dash, marker = style
    (line,) = axes.plot([], [], dash, marker=marker, color=color, label=label, ms=3.5, lw=1.6, animated=True)
    return LogCurve(axes, limits, line)


def ordinal(count: int) -> str:
    """Return 2 as ``2nd``; for counts from 2 to 20."""
    return f"{count}{ {2: 'nd', 3: 'rd'}.get(count, 'th') }"
