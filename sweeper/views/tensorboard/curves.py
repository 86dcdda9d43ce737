"""The scalars and histograms of an observation, and the charts that compare all runs; pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sweeper.record.events import Observation, Spiked, Watching
from sweeper.record.values.depth_profile import FEWEST_LAYERS

UPDATE_RATIO = "update_ratio"
"""The statistic that the histogram shows."""

CHARTS_TITLE = "Runs compared"
TRAINING_LOSS = r"(?i)^(?!.*(test|val|eval|prior|dev)).*loss"
"""Matches the tag of any loss that is not a test, validation or prior loss."""

LOWEST, HIGHEST, BUCKETS_PER_DECADE = -8, 1, 8
HISTOGRAM_DESCRIPTION = (
    "Distribution of the update ratios (update norm / parameter norm) over the tensors. The axis is the decimal "
    "logarithm of the ratio: -3 is the rule of thumb 1e-3. Ratios outside -8 to 1, including zero, are counted at the "
    "edges. Undefined ratios (tensors that started at zero) are not counted."
)


def comparison_charts(metric: str) -> Mapping[str, str]:
    """Return the charts by title: a pattern that matches the tags of the chart's curves (`re.match`)."""
    charts = {metric: _exactly(metric)} if metric else {}
    return {
        **charts,
        "training loss": TRAINING_LOSS,
        "reach: gradient of the first layers / gradient of the last": _exactly("gradient/reach"),
        "update ratio: median over the tensors": _exactly("update_ratio/median"),
    }


def _exactly(tag: str) -> str:
    return f"^{re.escape(tag)}$"


def observation_scalars(
    observation: Observation, watching: Watching | None, *, skipped: int, reports_lr: bool
) -> dict[str, float]:
    """Return the scalars of an observation, by tag.

    Args:
        watching: what the script watches; None if the record does not have it.
        skipped: number of optimizer steps skipped so far, for example by a gradient scaler.
        reports_lr: whether the script reports the learning rate itself; then it is left out here.
    """
    scalars = {}
    if watching is None or UPDATE_RATIO in watching.statistics:
        scalars["update_ratio/median"] = observation.update_ratio
    if watching is None or len(watching.layers) >= FEWEST_LAYERS:
        scalars["gradient/reach"] = observation.reach
    if not reports_lr:
        scalars["learning_rate"] = observation.learning_rate
    if skipped:
        scalars["steps/skipped"] = skipped
    return scalars


def spike_scalars(spike: Spiked) -> dict[str, float]:
    """Return the scalars of a spike, by tag: its z-score under the name of what was far out."""
    return {f"spikes/{spike.name}": spike.z}


def log_buckets(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a histogram of the decimal logarithms of the values: rows of left edge, right edge and count.

    The edges are eighths of a decade from 1e-8 to 1e1, the same for every observation, so observations are comparable.
    Buckets below the lowest and above the highest value are left out. NaN is not counted; zero is in the lowest bucket.
    """
    defined = values[~np.isnan(values)]
    logs = np.log10(np.clip(defined, 10.0**LOWEST, 10.0**HIGHEST))
    edges = np.linspace(LOWEST, HIGHEST, (HIGHEST - LOWEST) * BUCKETS_PER_DECADE + 1)
    counts, _ = np.histogram(np.clip(logs, LOWEST, HIGHEST), edges)
    occupied = np.flatnonzero(counts)
    shown = slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0)
    return np.column_stack([edges[:-1], edges[1:], counts])[shown]
