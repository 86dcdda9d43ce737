"""The pictures of a model: gradients and update ratios of each tensor in depth order, and the depth map.

Everything that does not change between frames (axes, names, grid) is drawn once per model and cached as pixels; each
frame restores it and draws only a few lines (matplotlib's blitting). The limits are fixed, so frames can be compared;
values beyond them, including zero, are marked at the edge.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import blended_transform_factory

from sweeper.record.events import Observation, Watching
from sweeper.results.wording import number
from sweeper.views.figures.canvas import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    Picture,
    Style,
    Values,
    log_curve,
    ordinal,
    set_log,
)
from sweeper.views.figures.depth_map import DepthMap
from sweeper.views.figures.history import DepthHistory
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.tensor_names import TensorOrder, tensor_order

SIZE = (1100, 600)
MOST_NAMES = 75
DIGIT_WIDTH = 7  # pixels
GRADIENT_LIMITS = (1e-9, 1e1)
RATIO_LIMITS = (1e-8, 1e1)
RULE_OF_THUMB = 1e-3  # CS231n, neural-networks-3
HEALTHY_BAND = (1e-4, 1e-2)
CURVES: Mapping[str, Style] = {
    "grad_max": ("max |gradient|", VERMILION, "-", "^"),
    "grad_std": ("standard deviation", GREEN, "--", "s"),
    "grad_mean": ("mean |gradient|", BLUE, "-", "o"),
}
RATIO: Style = ("update ratio", BLUE, "-", "o")


class TensorPicture(Picture, ABC):
    """A picture of some statistics over the tensors of a model.

    `needs` names the statistics; the note says for how many tensors the first of them is undefined.
    """

    needs: tuple[str, ...]

    def __init__(self, depth: TensorOrder, panels: Sequence[float]) -> None:
        super().__init__(SIZE, panels, left=0.075, bottom=0.25)
        _set_depth(self._axes, depth)

    @abstractmethod
    def draw(self, statistics: Mapping[str, Values]) -> None:
        """Draw the curves."""


class Gradients(TensorPicture):
    """Mean, maximum and standard deviation of |gradient| of each tensor, and below the fraction of zeros."""

    needs = ("grad_mean", "grad_max", "grad_std", "grad_zero")

    def __init__(self, depth: TensorOrder) -> None:
        super().__init__(depth, (5, 1))
        upper, lower = self._axes
        set_log(upper, GRADIENT_LIMITS, "|gradient| (loss per unit of parameter)")
        lower.set(ylim=(0, 1), yticks=(0, 0.5, 1), ylabel="fraction\nof zeros")
        lower.yaxis.label.set_fontsize(9)
        lower.tick_params(axis="y", labelsize=8)
        self._curves = {name: log_curve(upper, GRADIENT_LIMITS, style) for name, style in CURVES.items()}
        (self._zeros,) = lower.plot([], [], "-o", color=PURPLE, ms=2.5, lw=1, animated=True, clip_on=False)
        upper.legend(handles=_legend(CURVES.values()), loc="lower right", fontsize=9, ncols=3, framealpha=0.9)

    def draw(self, statistics: Mapping[str, Values]) -> None:
        """Draw what moves."""
        for name, line in self._curves.items():
            line.draw(statistics[name])
        zeros = statistics["grad_zero"]
        self._zeros.set_data(np.arange(len(zeros)), zeros)
        self._axes[1].draw_artist(self._zeros)


class UpdateRatios(TensorPicture):
    """Norm of the update / norm of the tensor, with the rule of thumb."""

    needs = ("update_ratio",)

    def __init__(self, depth: TensorOrder) -> None:
        super().__init__(depth, (1,))
        (axes,) = self._axes
        set_log(axes, RATIO_LIMITS, "update norm / parameter norm")
        band = axes.axhspan(*HEALTHY_BAND, color=GREEN, alpha=0.10, lw=0, label="1e-4 to 1e-2")
        rule = axes.axhline(RULE_OF_THUMB, color=GREEN, lw=1.2, ls="--", label="rule of thumb 1e-3")
        self._curve = log_curve(axes, RATIO_LIMITS, RATIO)
        axes.legend(handles=[*_legend([RATIO]), rule, band], loc="lower right", fontsize=9, ncols=3, framealpha=0.9)

    def draw(self, statistics: Mapping[str, Values]) -> None:
        """Draw what moves."""
        self._curve.draw(statistics["update_ratio"])


class ModelPictures:
    """All pictures of one model, with at most `most` layers each."""

    def __init__(self, watching: Watching, most: int) -> None:
        self._depth = tensor_order(watching, most)
        kinds = {"gradients": Gradients, "update ratios": UpdateRatios}
        self._tensors: Mapping[str, TensorPicture] = {
            tag: kind(self._depth) for tag, kind in kinds.items() if set(kind.needs) <= set(watching.statistics)
        }
        self._layers = DepthMap(watching.layers, most)

    def draw(self, statistics: Mapping[str, Values], observation: Observation) -> dict[str, bytes]:
        """Return the PNG pictures of one observation, by tag; only those with watched statistics."""
        columns = {name: values[list(self._depth.order)] for name, values in statistics.items()}
        pictures = {}
        for tag, picture in self._tensors.items():
            taken = ("after clipping" if observation.clipped else "before clipping") if tag == "gradients" else ""
            picture.begin(_title(tag, observation), _note(self._depth, columns[picture.needs[0]], taken))
            picture.draw(columns)
            pictures[tag] = picture.png()
        return pictures

    def draw_history(self, history: DepthHistory, mark: StopMark | None) -> bytes:
        """Return the PNG of the depth map over all observations so far; there must be at least one."""
        return self._layers.draw(history, mark)


def _title(what: str, observation: Observation) -> str:
    rate, reach = number(observation.learning_rate), number(observation.reach)
    return f"{what} at step {observation.step}   lr {rate}   reach {reach}"


def _note(depth: TensorOrder, values: Values, taken: str = "") -> str:
    """Return what the curves do not show: omitted layers, undefined values, and where the gradients were taken."""
    every, undefined = _named_every(depth), int(np.isnan(values).sum())
    named = f"every {ordinal(every)} of {len(values)} tensors is labelled" if every > 1 else ""
    missing = f"{undefined} of {len(values)} undefined" if undefined else ""
    return " · ".join(part for part in (depth.left_out, missing, named, taken) if part)


def _set_depth(panels: Sequence[Axes], depth: TensorOrder) -> None:
    """Set the shared horizontal axis: tensor names below, blocks as shaded bands with their numbers above."""
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


def _named_every(depth: TensorOrder) -> int:
    return -(-len(depth.names) // MOST_NAMES)


def _set_bands(axes: Axes, depth: TensorOrder, *, numbered: bool) -> None:
    begin, shade = 0, False
    for end in range(1, len(depth.blocks) + 1):
        if end < len(depth.blocks) and depth.blocks[end] == depth.blocks[begin]:
            continue
        block = depth.blocks[begin]
        if block:
            shade = not shade
            if shade:
                axes.axvspan(begin - 0.5, end - 0.5, color="#f1f1f4", lw=0, zorder=0)
            room = (end - begin) * axes.bbox.width / len(depth.blocks)
            if numbered and room > DIGIT_WIDTH * len(block):
                label = Text((begin + end - 1) / 2, 1.01, block, fontsize=8, ha="center", va="bottom", color=GREY)
                label.set_transform(blended_transform_factory(axes.transData, axes.transAxes))
                label.set_clip_on(False)
                axes.add_artist(label)
        begin = end


def _legend(curves: Iterable[Style]) -> list[Line2D]:
    return [Line2D([], [], ls=dash, marker=mark, color=c, ms=4, label=label) for label, c, dash, mark in curves]
