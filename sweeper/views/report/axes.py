"""The axes of the report's charts: parameter values, and time without long idle periods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from matplotlib.axes import Axes

from sweeper.record.values.extremes import as_float, tamed
from sweeper.record.values.params import spelled
from sweeper.results.columns import shorten
from sweeper.results.scales import is_logarithmic
from sweeper.results.wording import plain

LONGEST_LABEL = 24
"""Maximum number of characters of a label."""
MOST_TICKS = 6
LONGEST_IDLE = 0.1
"""The longest idle period that a time axis shows, as a fraction of the total time of all attempts."""
CUT_WIDTH = 0.2
"""The width that remains of an idle period that is cut out, as a fraction of the longest idle period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterAxis:
    """The positions of a parameter's values: numbers at their value, anything else by name at even distances."""

    values: Sequence[object]
    positions: Sequence[float]
    log: bool
    named: bool = False

    @classmethod
    def of(cls, values: Sequence[object]) -> Self:
        """Return the axis for the values of some trials."""
        numbers = [tamed(as_float(v)) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(values) and all(map(math.isfinite, numbers)):
            return cls(values=values, positions=numbers, log=is_logarithmic(numbers))
        names = sorted({spelled(value) for value in values})
        places = [float(names.index(spelled(value))) for value in values]
        return cls(values=values, positions=places, log=False, named=True)

    def labels(self) -> list[str]:
        """Return the values as a user would write them."""
        return [spelled(value) for value in self.values]

    def scale(self, axes: Axes) -> None:
        """Set a tick at each value if there are few, else leave the ticks to matplotlib."""
        if self.log:
            axes.set_xscale("log")
        ticks = sorted(set(zip(self.positions, self.labels(), strict=True)))
        if self.named:  # matplotlib's own ticks would be numbers without a meaning
            ticks = ticks[:: -(-len(ticks) // MOST_TICKS)]
        if len(ticks) <= MOST_TICKS:
            axes.minorticks_off()
            axes.set_xticks([position for position, _ in ticks], [label(text) for _, text in ticks])
            axes.margins(x=0.15)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAxis:
    """Seconds since the first attempt began, without long idle periods.

    `stretches` are the periods between cuts: the begin of each in seconds since the epoch, and its position.
    """

    stretches: Sequence[tuple[float, float]]
    total: float

    @classmethod
    def of(cls, spans: Sequence[tuple[float, float]]) -> Self:
        """Return the axis for some attempts, each with begin and end in seconds since the epoch."""
        longest = sum(max(0.0, end - begin) for begin, end in spans) * LONGEST_IDLE
        stretches: list[tuple[float, float]] = []
        busy_until, position = -math.inf, 0.0
        for begin, end in sorted(spans):
            if begin - busy_until > longest:
                position = position + busy_until - stretches[-1][0] + longest * CUT_WIDTH if stretches else 0.0
                stretches.append((begin, position))
            busy_until = max(busy_until, end)
        return cls(stretches=stretches, total=stretches[-1][1] + busy_until - stretches[-1][0])

    def at(self, time: float) -> float:
        """Return the position of a time in seconds since the epoch."""
        begin, position = next(stretch for stretch in reversed(self.stretches) if stretch[0] <= time)
        return position + time - begin

    @property
    def cuts(self) -> list[float]:
        """Return the positions at which an idle period was cut out."""
        return [position for _, position in self.stretches[1:]]


def label(text: object) -> str:
    """Return any text as a short label that matplotlib does not read as a formula."""
    return shorten(plain(text), LONGEST_LABEL).replace("$", r"\$")
