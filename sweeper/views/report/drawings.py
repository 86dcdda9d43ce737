"""Choose what the report draws: its charts with title and caption, and the depth maps of some trials."""

from __future__ import annotations

import base64
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sweeper.record.trial import State
from sweeper.results import captions
from sweeper.results.snapshot import params_of
from sweeper.results.wording import number, plain
from sweeper.views.figures.depth_map import DepthMap
from sweeper.views.figures.stop_mark import StopMark
from sweeper.views.figures.trial_figures import MOST_LAYERS
from sweeper.views.report import charts, front
from sweeper.views.report.trial_curves import Points, TrialCurves

T = TypeVar("T")

MOST_CURVES = 60
"""Maximum number of curves in a chart."""
MOST_MAPS = 24
"""Maximum number of depth maps."""
OUTLIER = 100
"""The highest value divided by the median from which on curves are drawn on a logarithmic scale.

Above its square, even that scale would hide the others, and the axis ends at this multiple of the median."""

_REACH_CAPTION = (
    "The gradient of the first quarter of the layers divided by that of the last quarter. If it falls, the first "
    "layers no longer learn, whatever the loss is."
)
_CUT = "Long idle periods are cut out (dashed lines)."


def drawn_charts(
    curves: Sequence[TrialCurves], metric: str, importances: Mapping[str, Mapping[str, float]], now: float
) -> list[tuple[str, str, str]]:
    """Return title, caption and SVG of each chart that has data.

    Args:
        curves: of all trials, best first.
        importances: the fraction of the variance that each parameter explains, by objective; the name of a single
            objective may be empty.
        now: seconds since the epoch.
    """
    shown = spread(curves, MOST_CURVES)
    cross = (
        "; a cross marks the end of a trial that was stopped early"
        if any(c.trial.state is State.PRUNED for c in shown)
        else ""
    )
    half = MOST_CURVES // 2
    some = f" The best {half} trials and {half} of the others are shown." if shown != curves else ""
    final = [one.trial.value for one in curves if one.trial.value is not None and math.isfinite(one.trial.value)]
    entries = [
        ("Pareto front", captions.FRONT, front.front(curves)),
        _with_outliers(plain(metric), f"Each line is a trial{cross}.{some}", shown, _values, metric),
        _with_outliers("Training loss", some.strip(), shown, _losses, "loss"),
        ("Reach", f"{_REACH_CAPTION}{some}", charts.curves(shown, _reach, "reach", log=True)),
        ("Each parameter", "Each point is a trial.", charts.slices(curves, metric, log=_has_outliers(final))),
        ("Parameters together", captions.PARALLEL, charts.parallel(curves, metric)),
        *(
            (f"Parameter importance{name and f': {plain(name)}'}", captions.IMPORTANCE, charts.bars(one, "importance"))
            for name, one in importances.items()
        ),
        ("Slots", f"{captions.SLOTS} {_CUT}", charts.timeline(curves, now)),
    ]
    return [entry for entry in entries if entry[2]]


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` items: the first half as they come, the second half spread evenly over the others."""
    if len(items) <= most:
        return items
    best, others = items[: most // 2], items[most // 2 :]
    count = most - len(best)
    return [*best, *(others[index * (len(others) - 1) // max(1, count - 1)] for index in range(count))]


def depth_maps(curves: Sequence[TrialCurves]) -> list[dict[str, str]]:
    """Return title and PNG (base64) of the depth maps of observed trials, pruned and other trials in turn.

    Args:
        curves: of all trials, best first.
    """
    observed = [one for one in curves if one.layers and one.depth.has_profile]
    pruned = [one for one in observed if one.trial.state is State.PRUNED]
    others = [one for one in observed if one.trial.state is not State.PRUNED]
    turns = itertools.chain.from_iterable(itertools.zip_longest(pruned, others))
    pictures: dict[tuple[str, ...], DepthMap] = {}
    maps = []
    for one in itertools.islice(filter(None, turns), MOST_MAPS):
        layers = tuple(one.layers)
        if layers not in pictures:  # the background is drawn once per model, because it takes longest
            pictures[layers] = DepthMap(layers, MOST_LAYERS)
        png = pictures[layers].draw(one.depth, StopMark.of(one.trial))
        title = f"{one.number} {params_of(one.trial)}, {charts.WORDS[one.trial.state]}"
        maps.append({"title": title, "png": base64.b64encode(png).decode()})
    return maps


def _with_outliers(
    title: str, caption: str, curves: Sequence[TrialCurves], points: Callable[[TrialCurves], Points], name: str
) -> tuple[str, str, str]:
    """Return title, caption and SVG of curves, of which some may have diverged."""
    values = [value for one in curves for _, value in points(one) if math.isfinite(value)]
    log, top = _has_outliers(values), None
    if log and max(values) > OUTLIER * (most := OUTLIER * statistics.median(values)):
        top, caption = most, f"{caption} Values above {number(most)} are cut off.".strip()
    return title, caption, charts.curves(curves, points, name, log=log, top=top)


def _has_outliers(values: Sequence[float]) -> bool:
    """Return whether all values are positive and the highest would hide the others on a linear scale."""
    return bool(values) and min(values) > 0 and max(values) > OUTLIER * statistics.median(values)


def _values(curves: TrialCurves) -> Points:
    return curves.values


def _losses(curves: TrialCurves) -> Points:
    return curves.losses


def _reach(curves: TrialCurves) -> Points:
    return [(step, reach) for step, reach in curves.reach if math.isfinite(reach)]
