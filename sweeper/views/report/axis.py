"""Where the values of a parameter stand on an axis, and how they are written there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.axes import Axes

from sweeper.record.trial import spelled
from sweeper.results.columns import shorten
from sweeper.results.wording import plain

LONGEST = 24
"""Characters of a label."""
MOST_TICKS = 6
LOG_FROM = 5.0
"""Values that span at least this factor stand on a logarithmic axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterAxis:
    """Where the values of a parameter stand: numbers where they are, everything else by name, evenly."""

    values: Sequence[object]
    places: Sequence[float]
    log: bool
    named: bool = False

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        """The axis of the values of some trials."""
        numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and all(map(math.isfinite, numbers)):
            return cls(values=values, places=numbers, log=is_logarithmic(numbers))
        names = sorted({str(value) for value in values})
        return cls(values=values, places=[float(names.index(str(value))) for value in values], log=False, named=True)

    def labels(self) -> list[str]:
        """The values as a person would write them."""
        return [spelled(value) for value in self.values]

    def scale(self, axes: Axes) -> None:
        """A tick at each value where they are few, else wherever matplotlib puts them."""
        if self.log:
            axes.set_xscale("log")
        ticks = sorted(set(zip(self.places, self.labels(), strict=True)))
        if self.named:  # by their places, which are numbers too, nobody would know them
            ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
        if len(ticks) <= MOST_TICKS:
            axes.minorticks_off()
            axes.set_xticks([place for place, _ in ticks], [label(text) for _, text in ticks])
            axes.margins(x=0.15)


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether numbers are spread more evenly by their logarithms, and wide enough for that to matter."""
    if min(numbers) <= 0 or max(numbers) < LOG_FROM * min(numbers):
        return False
    evenness = [abs(float(np.median(normal(numbers, log=log))) - 0.5) for log in (False, True)]
    return evenness[1] < evenness[0]


def normal(places: Sequence[float], *, log: bool) -> list[float]:
    """From 0 to 1; a half where all are alike."""
    values = np.log(places) if log else np.asarray(places, float)
    low, span = values.min(), np.ptp(values)
    return [0.5] * len(values) if not span else [float(value) for value in (values - low) / span]


def label(text: object) -> str:
    """Short, no formula, and nothing that a font has no sign for, whatever it holds."""
    return shorten(plain(text), LONGEST).replace("$", r"\$")
