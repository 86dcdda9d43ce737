"""`update_ratio`: updates are too small or too large, beside the weights."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field, replace

from sweeper.record.events import Event, Observation, Plan
from sweeper.rules.base import Explanation, Finding, Positive, RuleSettings, Share, Window, compared
from sweeper.rules.conditions.windows import ObservationWindow
from sweeper.rules.signals.signals import SMALLEST_SHARE


class UpdateRatio(RuleSettings):
    """The median update ratio is below ``low``, below ``of_start`` times its median at the start, or above ``high``.

    With ``scheduled``, the ratio is divided by the learning rate as a share of its peak, so that a warmup or a decay is
    not mistaken for a stall; it is undefined below 1% of the peak.
    """

    name = "update_ratio"
    reads = (frozenset({"update_ratio"}),)
    fires_by_default = False
    lower_thresholds = ("low", "of_start")

    window: Window = 5
    low: Positive | None = None
    high: Positive | None = None
    of_start: Share | None = None
    scheduled: bool = True

    def condition(self) -> UpdateRatioCondition:
        """Return the condition that has to hold for the rule to fire."""
        return UpdateRatioCondition(settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRatioState:
    """The observed ratios, and the highest learning rate that is known."""

    ratios: ObservationWindow = field(default_factory=ObservationWindow)
    peak: float = 0.0
    planned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRatioCondition:
    """The condition of `UpdateRatio`."""

    settings: UpdateRatio
    name: str = UpdateRatio.name

    def start(self) -> UpdateRatioState:
        """Return the state before the first event."""
        return UpdateRatioState()

    def step(self, state: UpdateRatioState, event: Event) -> tuple[UpdateRatioState, Finding | None]:
        """Return the state after the event, and the finding at an observation once the window is full."""
        if isinstance(event, Plan) and event.peak_lr:
            return replace(state, peak=event.peak_lr, planned=True), None
        if not isinstance(event, Observation):
            return state, None
        if not state.planned and event.learning_rate > state.peak:
            state = replace(state, peak=event.learning_rate)
        ratio = self._ratio(event, state.peak)
        if not math.isfinite(ratio):
            return state, None
        ratios = state.ratios.with_value(event.step, ratio, self.settings.window)
        is_full = len(ratios.newest) == self.settings.window
        return replace(state, ratios=ratios), self._finding(ratios, event.step) if is_full else None

    def _ratio(self, event: Observation, peak: float) -> float:
        if not self.settings.scheduled:
            return event.update_ratio
        share = event.learning_rate / peak if peak > 0 else math.nan
        return event.update_ratio / share if share >= SMALLEST_SHARE else math.nan

    def _finding(self, ratios: ObservationWindow, step: int) -> Finding:
        low, high, of_start = self.settings.low, self.settings.high, self.settings.of_start
        relative = 0.0 if of_start is None else of_start * ratios.at_start
        floor, median = max(low or 0.0, relative), ratios.median
        too_high = high is not None and median > high
        threshold = high if too_high and high is not None else floor
        reason = functools.partial(self._explain, ratios, threshold, too_high=too_high)
        return Finding(step=step, holds=too_high or median < floor, reason=reason)

    def _explain(self, ratios: ObservationWindow, threshold: float, *, too_high: bool) -> Explanation:
        statistic = "scheduled update ratio" if self.settings.scheduled else "update ratio"
        size, side = ("large", "above") if too_high else ("small", "below")
        median, limit = compared(ratios.median, threshold)
        text = (
            f"the updates are too {size}: the median of the {statistic} over {ratios.span()} is {median}, "
            f"{side} {limit} (at the start of the run: {ratios.at_start:.1e})"
        )
        return text, ratios.evidence(statistic, threshold)
