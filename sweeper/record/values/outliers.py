"""Find values that are far above the recent ones: the arithmetic of loss spikes. Pure.

Three tests are here, with the defaults that were published for them:

- `MedianWindow`: 6 standard deviations over the last 128 values, of which 64 have to be there. These are the defaults
  of `SkipStepOptimizer` in OLMo-core (rolling_interval_length=128, sigma_factor=6). That optimizer takes the mean and
  the standard deviation, which one spike moves; here the median takes the place of the mean. The scale is the median
  absolute deviation (MAD), scaled to the standard deviation of a normal distribution (Iglewicz and Hoaglin, How to
  Detect and Handle Outliers, 1993), or the standard deviation if that is larger.
- `MeanWindow`: the same with the mean and the standard deviation, as that optimizer has it.
- `MovingMean`: 2.5 standard deviations around an exponential mean with factor 0.97, after 25 values, as ZClip does for
  gradient norms (Kumar et al., ZClip: Adaptive Spike Mitigation for LLM Pre-Training, arXiv:2504.02507).

Only values above the usual ones are outliers: a loss that falls quickly is none. A value that is not finite always is.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

WINDOW, SIGMA = 128, 6.0
NORMAL = 1.4826
"""The standard deviation of a normal distribution in units of its MAD."""
NORMAL_MEAN = 1.2533
"""The standard deviation of a normal distribution in units of its mean absolute deviation."""
SMALLEST_SCALE = 1e-6
"""The scale is at least this share of the median, so that rounding is no outlier."""
FACTOR, MEAN_SIGMA, WARMUP = 0.97, 2.5, 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A value that is far above the recent ones.

    Attributes:
        value: the value.
        centre: the centre of the recent values; NaN if too few are known.
        scale: their standard deviation, or its estimate; NaN if too few are known.
        z: (value - centre) / scale; infinite if the value is not finite.
    """

    value: float
    centre: float
    scale: float
    z: float


class OutlierTest(Protocol):
    """A test of one series of values, which are given in their order."""

    def take(self, value: float) -> Outlier | None:
        """Return the value as an outlier, or None, and count it among the recent values from now on."""


class MedianWindow:
    """Test values by the median of the values before them, and by the larger of the MAD and the standard deviation.

    The MAD alone is too small for losses and gradients of healthy runs, which have heavy tails (`benchmarks/spikes.py`
    measures it). The standard deviation alone would be raised by a spike, and hide the next one. So an outlier counts
    among the recent values as the threshold that it exceeded. A loss that has risen for good is usual again within half
    a window. If more than half of the values are equal, the mean absolute deviation takes the place of the MAD; without
    any deviation, no finite value is an outlier.
    """

    def __init__(self, window: int = WINDOW, sigma: float = SIGMA, *, mad_alone: bool = False) -> None:
        """Start without values.

        Args:
            window: the number of recent values; half of them have to be known before a value is tested.
            sigma: the threshold of z.
            mad_alone: whether to leave out the standard deviation, for comparisons.
        """
        self._mad_alone = mad_alone
        self._fewest = max(2, window // 2)
        self._sigma = sigma
        self._recent: deque[float] = deque(maxlen=window)
        self._sorted: list[float] = []

    def take(self, value: float) -> Outlier | None:
        """Return the value as an outlier, or None, and count it among the recent values from now on."""
        found = self._test(value)
        if math.isfinite(value):
            if found is not None and not self._mad_alone:
                value = found.centre + self._sigma * found.scale
            if len(self._recent) == self._recent.maxlen:
                del self._sorted[bisect.bisect_left(self._sorted, self._recent[0])]
            self._recent.append(value)
            bisect.insort(self._sorted, value)
        return found

    def _test(self, value: float) -> Outlier | None:
        known = len(self._sorted) >= self._fewest
        centre = _middle(self._sorted) if known else math.nan
        if not math.isfinite(value):
            scale = self._scale(centre) if known else math.nan
            return Outlier(value=value, centre=centre, scale=scale, z=math.inf)
        if not value > centre:  # the usual case, or too few values
            return None
        scale = self._scale(centre)
        if not scale:
            return None
        z = (value - centre) / scale
        if z > self._sigma and not self._mad_alone:
            scale = max(scale, _deviation(self._sorted))
            z = (value - centre) / scale
        return Outlier(value=value, centre=centre, scale=scale, z=z) if z > self._sigma else None

    def _scale(self, centre: float) -> float:
        deviations = sorted(abs(value - centre) for value in self._sorted)
        scale = NORMAL * _middle(deviations) or NORMAL_MEAN * math.fsum(deviations) / len(deviations)
        return max(scale, SMALLEST_SCALE * abs(centre)) if scale else 0.0


class MeanWindow:
    """Test values by the mean and the standard deviation of the values before them, as OLMo-core does.

    One spike raises both, and so hides smaller ones for a window. In exchange, a series with a heavy tail has fewer
    false alarms than with `MedianWindow`.
    """

    def __init__(self, window: int = WINDOW, sigma: float = SIGMA) -> None:
        """Start without values; the arguments are those of `MedianWindow`."""
        self._fewest = max(2, window // 2)
        self._sigma = sigma
        self._recent: deque[float] = deque(maxlen=window)

    def take(self, value: float) -> Outlier | None:
        """Return the value as an outlier, or None, and count it among the recent values from now on."""
        known = len(self._recent) >= self._fewest
        centre = math.fsum(self._recent) / len(self._recent) if known else math.nan
        scale = _deviation(self._recent) if known else math.nan
        if not math.isfinite(value):
            return Outlier(value=value, centre=centre, scale=scale, z=math.inf)
        self._recent.append(value)
        if not known or scale <= SMALLEST_SCALE * abs(centre):
            return None
        z = (value - centre) / scale
        return Outlier(value=value, centre=centre, scale=scale, z=z) if z > self._sigma else None


class MovingMean:
    """Test values by an exponential mean and variance of the values before them.

    An outlier counts as the threshold that it exceeded, so that it does not hide the next one.
    """

    def __init__(self, factor: float = FACTOR, sigma: float = MEAN_SIGMA, warmup: int = WARMUP) -> None:
        """Start without values.

        Args:
            factor: the weight of the past in the mean and the variance.
            sigma: the threshold of z.
            warmup: the number of values from which the first mean and variance are computed.
        """
        self._factor, self._sigma, self._warmup = factor, sigma, warmup
        self._first: list[float] = []
        self._mean = self._variance = math.nan

    def take(self, value: float) -> Outlier | None:
        """Return the value as an outlier, or None, and count it among the recent values from now on."""
        scale = math.sqrt(self._variance) if self._variance > 0 else self._variance
        if not math.isfinite(value):
            return Outlier(value=value, centre=self._mean, scale=scale, z=math.inf)
        if math.isnan(self._mean):
            self._begin(value)
            return None
        found = None
        if scale > 0 and (z := (value - self._mean) / scale) > self._sigma:
            found = Outlier(value=value, centre=self._mean, scale=scale, z=z)
            value = self._mean + self._sigma * scale
        distance = value - self._mean
        self._mean += (1 - self._factor) * distance
        self._variance = self._factor * self._variance + (1 - self._factor) * distance * distance
        return found

    def _begin(self, value: float) -> None:
        self._first.append(value)
        if len(self._first) >= self._warmup:
            count = len(self._first)
            self._mean = math.fsum(self._first) / count
            self._variance = math.fsum((one - self._mean) ** 2 for one in self._first) / count
            self._first.clear()


def _deviation(values: Collection[float]) -> float:
    """Return the standard deviation of a sample of at least two values; infinite where a float cannot hold it."""
    mean = math.fsum(values) / len(values)
    try:
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    except OverflowError:
        return math.inf


def _middle(ordered: list[float]) -> float:
    """Return the median of sorted values."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
