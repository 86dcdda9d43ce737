"""The series of a reported value over the whole run in a few bins: its start, its current level and its noise.

A series has at most `MOST` bins of equally many reports, however long the run is. If there are more, neighbours are
merged. So the statistics of a series do not depend on how often a script reports, and are cheap.
"""

from __future__ import annotations

import math
import statistics

from sweeper.record.values.extremes import tamed

MOST = 64
FIRST, EARLY = 3, 10
"""The level at the start is the median of the first three reports, or the mean of the first ten if that is higher,
because a batch of one example may start low by chance. Its noise is that of the ten.
"""
TAIL = 10.0
"""In that mean, reports are clipped at this multiple of their median, so that a loss that explodes does not count."""
WINDOW = 5
SHARE = 32
"""The current level is the mean of the last 1/32 of the reports, and of at least `WINDOW`."""


class BinnedSeries:
    """The series of one value. Reports that are not finite are counted, and left out of all levels.

    Attributes:
        count: the number of finite reports.
        first: the first finite report; NaN before it.
        start: the level at the start (see `FIRST`); NaN before the first report.
        lowest: the smallest finite report.
        highest: the highest level so far; minus infinity before there is one.
        best: the lowest level so far; infinite before there is one.
        best_step: the step at which `best` was reached.
        best_noise: the standard deviation of the reports in the window of `best`.
        not_finite: the number of newest reports in a row that were not finite.
        last_step: the step of the newest report; -1 before the first.
        last: the newest report.
    """

    __slots__ = (
        "_bins",
        "_first",
        "_size",
        "best",
        "best_noise",
        "best_step",
        "count",
        "first",
        "highest",
        "last",
        "last_step",
        "lowest",
        "not_finite",
        "start",
    )

    def __init__(self) -> None:
        self._bins: list[list[float]] = []  # step of the last report, reports, their sum, the sum of their squares
        self._size = 1
        self._first: list[float] = []
        self.count = 0
        self.first = math.nan
        self.start = math.nan
        self.lowest = math.inf
        self.highest = -math.inf
        self.best = math.inf
        self.best_step = -1
        self.best_noise = math.nan
        self.not_finite = 0
        self.last_step = -1
        self.last = math.nan

    def add(self, step: int, value: float) -> None:
        """Add a report."""
        self.last_step, self.last = step, value
        if not math.isfinite(value):
            self.not_finite += 1
            return
        self.not_finite = 0
        self.count += 1
        value = tamed(value)
        if self.count <= EARLY:
            self._first.append(value)
            self.first = self._first[0]
            self.start = max(statistics.median(self._first[:FIRST]), self._early_mean())
        self.lowest = min(self.lowest, value)
        bins = self._bins
        if bins and bins[-1][1] < self._size:
            last = bins[-1]
            last[0], last[1], last[2], last[3] = step, last[1] + 1, last[2] + value, last[3] + value * value
        else:
            bins.append([step, 1, value, value * value])
            if len(bins) > MOST:
                self._bins = [_merged(*bins[i : i + 2]) for i in range(0, len(bins), 2)]
                self._size *= 2
        if self.count >= WINDOW:
            now = self.level()
            self.highest = max(self.highest, now)
            if now < self.best:
                self.best, self.best_step, self.best_noise = now, step, self.noise

    def _early_mean(self) -> float:
        middle = statistics.median(self._first)
        most = TAIL * middle if middle > 0 else math.inf
        return statistics.fmean(min(value, most) for value in self._first)

    def level(self, back: int = 0) -> float:
        """Return the mean of the newest `window` reports, or of those `back` windows earlier; NaN if there are none."""
        mean, _, _ = self._window(back)
        return mean

    @property
    def noise(self) -> float:
        """The standard deviation of the newest reports about their mean; NaN before there are two."""
        _, variance, count = self._window(0)
        return math.sqrt(variance * count / (count - 1)) if count > 1 else math.nan

    @property
    def start_error(self) -> float:
        """The standard error of the level at the start, from the first reports; 0 before there are two."""
        return statistics.pstdev(self._first) / math.sqrt(FIRST) if len(self._first) > 1 else 0.0

    @property
    def error(self) -> float:
        """The standard error of the newest level; NaN before there are two reports."""
        _, _, count = self._window(0)
        return self.noise / math.sqrt(count) if count > 1 else math.nan

    @property
    def window(self) -> int:
        """The number of reports that a level is the mean of."""
        return max(WINDOW, self.count // SHARE)

    def fell_by(self, share: float) -> float:
        """Return the fall of the mean from the second last `share` of the reports to the last one, in standard errors.

        Both parts are equally long, so this is the trend at the end of the run so far. NaN if there are too few
        reports.
        """
        wanted = max(WINDOW, round(self.count * share))
        late, early = self._part(0, wanted), self._part(wanted, wanted)
        if late is None or early is None:
            return math.nan
        (new, new_variance, n), (old, old_variance, m) = late, early
        error = math.sqrt(new_variance / n + old_variance / m)
        return (old - new) / error if error > 0 else math.copysign(math.inf, old - new) if old != new else 0.0

    def change_over(self, share: float) -> float:
        """Return the same fall of the mean as `fell_by`, in units of the value; NaN if there are too few reports."""
        wanted = max(WINDOW, round(self.count * share))
        late, early = self._part(0, wanted), self._part(wanted, wanted)
        return math.nan if late is None or early is None else early[0] - late[0]

    def _part(self, skip: int, wanted: int, *, fewer: bool = False) -> tuple[float, float, float] | None:
        """Return mean, variance and number of about `wanted` reports before the newest `skip`.

        Returns:
            None if there are fewer; with `fewer`, None if there are none.
        """
        count = total = squares = 0.0
        for _, n, s, q in reversed(self._bins):
            if skip > 0:
                skip -= int(n)
                continue
            count, total, squares = count + n, total + s, squares + q
            if count >= wanted:
                break
        if not count or (count < wanted and not fewer):
            return None
        mean = total / count
        return mean, max(0.0, squares / count - mean * mean), count

    def _window(self, back: int) -> tuple[float, float, float]:
        """Return mean, variance and number of the reports of a level; NaN and 0 if there are none."""
        return self._part(back * self.window, self.window, fewer=True) or (math.nan, math.nan, 0.0)


def _merged(one: list[float], other: list[float] | None = None) -> list[float]:
    return one if other is None else [other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]]
