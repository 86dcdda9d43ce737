"""The depth map: the gradient of each layer at each step as colours, and below it the reach and the stop mark.

The colours are viridis, with even lightness, so the map can be read with any colour vision and in grey. Undefined
values are hatched. The scales are fixed, so frames and trials can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sweeper.results.wording import number
from sweeper.views.figures.canvas import (
    BLUE,
    GREY,
    VERMILION,
    Picture,
    Style,
    Values,
    blends,
    log_curve,
    ordinal,
    palette_with,
    set_log,
)
from sweeper.views.figures.history import DepthHistory, RecordedObservation
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.tensor_names import layer_names, left_out, spread

SIZE = (1100, 800)
NAME_HEIGHT = 11  # pixels
RIGHT = 0.865
"""Right edge of the panels; the longest name of a rule fits beside it, in the legend."""
COLOURS = 128
GRADIENT_LIMITS = (1e-10, 1e0)
REACH_LIMITS = (1e-7, 1e2)
COLUMNS = 800
REACH: Style = ("reach", BLUE, "-", "o")
STOP_LINE: Mapping[str, Any] = {"color": VERMILION, "ls": "--", "lw": 1.5}
HATCHED: Mapping[str, Any] = {"hatch": "//////", "edgecolor": "#888888", "facecolor": "#e0e0e0"}
UNDEFINED = Patch(label="undefined", **HATCHED)


class DepthMap(Picture):
    """The depth map of one model with at most `most` layers; every frame shows the whole history so far."""

    def __init__(self, layers: Sequence[str], most: int) -> None:
        super().__init__(SIZE, (3.2, 1), left=0.16, right=RIGHT, bottom=0.065)
        names = layer_names(layers)
        self._kept = list(spread(len(layers), most))
        self._left_out = left_out(len(layers), most)
        upper, lower = self._axes
        rows = len(self._kept)
        colours = (
            mpl.colormaps["viridis"].resampled(COLOURS).with_extremes(bad=(0, 0, 0, 0), under="black", over="white")
        )
        self._image = upper.imshow(
            np.full((rows, 1), np.nan),
            norm=LogNorm(*GRADIENT_LIMITS),
            cmap=colours,
            aspect="auto",
            interpolation="nearest",
            extent=(0, 1, rows - 0.5, -0.5),
            animated=True,
        )
        upper.patch.set(**HATCHED)
        self._every = max(1, -(-rows * NAME_HEIGHT // round(upper.bbox.height)))  # a damaged record may have no layers
        shown = range(0, rows, self._every)
        upper.set_yticks(shown, [names[self._kept[row]] for row in shown], fontsize=8)
        for label in upper.get_yticklabels():
            label.set_parse_math(False)
        upper.tick_params(axis="x", bottom=False)
        upper.set_ylabel("output  ←  layer, in the order of the forward pass  →  input")
        box = upper.get_position()
        bar = self._figure.colorbar(
            self._image, cax=self._figure.add_axes((RIGHT + 0.015, box.y0, 0.016, box.height)), extend="both"
        )
        bar.set_label("root-mean-square gradient (loss per unit of parameter)")
        bar.set_ticks([10.0**power for power in range(-10, 1)])
        bar.minorticks_off()
        set_log(lower, REACH_LIMITS, "reach (first over\nlast quarter)")
        lower.grid(axis="y", color="#dddddd", lw=0.6)
        lower.set_axisbelow(True)
        lower.set_xlabel("step")
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        lower.xaxis.set_animated(True)
        self._reach = log_curve(lower, REACH_LIMITS, REACH)
        # Not taken from the first frame, as in other pictures, because later frames have other colours.
        shades = (255 * colours(np.arange(COLOURS))[:, :3]).round().astype(int).tolist()
        self._palette = palette_with([*shades, *blends("black", 24), *blends(BLUE, 16), *blends(VERMILION, 16)])

    def draw(self, history: DepthHistory, mark: StopMark | None) -> bytes:
        """Return the PNG of a history with at least one observation.

        Args:
            mark: the decision that stopped the trial; None if there is none.
        """
        observations = history.observations()
        upper, lower = self._axes
        steps = np.array([recorded.observation.step for recorded in observations], np.int64)
        reach = np.array([recorded.observation.reach for recorded in observations], np.float64)
        spacing = np.median(np.diff(steps)) if len(steps) > 1 else observations[0].watching.every
        edges = np.append(steps, steps[-1] + max(1, spacing))
        newest = observations[-1].observation
        self.begin(f"depth profile to step {newest.step}   reach {number(newest.reach)}", self._note_of(history))
        lower.set_xlim(edges[0], edges[-1])
        lower.draw_artist(lower.xaxis)
        self._image.set_data(_raster(observations, self._kept, edges))
        self._image.set_extent((edges[0], edges[-1], len(self._kept) - 0.5, -0.5))
        for artist in (self._image, *upper.spines.values()):
            upper.draw_artist(artist)
        self._reach.draw(reach, steps)
        self._draw_mark(mark)
        return self.png()

    def _draw_mark(self, mark: StopMark | None) -> None:
        """Draw the stop mark in both panels, and the legend."""
        upper, lower = self._axes
        lines: list[Line2D] = []
        if mark is not None:
            lines.append(upper.axvline(mark.step, color="white", lw=3))
            lines.append(upper.axvline(mark.step, **STOP_LINE))
            lines.append(lower.axvline(mark.step, label=f"{mark.rule}\nat step {mark.step}", **STOP_LINE))
            steps, reach = zip(*mark.window, strict=True) if mark.window else ((), ())
            lines += lower.plot(steps, reach, "D", ms=7, mfc="none", mec=VERMILION, ls="", label="evidence")
            if math.isfinite(mark.threshold):
                label = f"threshold {mark.threshold:g}"
                lines.append(lower.axhline(mark.threshold, color=GREY, ls=":", lw=1.5, label=label))
        box = lower.get_position()
        labelled = [line for line in lines if not str(line.get_label()).startswith("_")]
        legend = self._figure.legend(
            handles=[UNDEFINED, *labelled],
            loc="upper left",
            bbox_to_anchor=(box.x1, box.y1),
            fontsize=8,
            frameon=False,
            handlelength=1.2,
            handletextpad=0.4,
            borderpad=0.2,
        )
        for artist in (*lines, legend):
            self._figure.draw_artist(artist)
            artist.remove()  # each frame draws its own

    def _note_of(self, history: DepthHistory) -> str:
        """Return what the picture leaves out."""
        named = f"every {ordinal(self._every)} layer is labelled" if self._every > 1 else ""
        thinned = f"each column shows the first observation of {history.width} steps" if history.thinned else ""
        return " · ".join(part for part in (self._left_out, named, thinned) if part)


def _raster(observations: Sequence[RecordedObservation], kept: Sequence[int], edges: Values) -> Values:
    """Return the gradients by layer and by equal parts of the step axis; an observation counts until the next one."""
    profiles = np.full((len(observations), len(kept)), np.nan)
    for row, recorded in enumerate(observations):
        if recorded.profile is not None:
            profiles[row] = recorded.profile[kept]
    at = np.linspace(edges[0], edges[-1], COLUMNS, endpoint=False)
    low, high = GRADIENT_LIMITS
    # Zero has no logarithm; it is drawn as small, not as undefined.
    raster: Values = np.clip(profiles[np.searchsorted(edges, at, "right") - 1].T, low / 2, high * 2)
    return raster
