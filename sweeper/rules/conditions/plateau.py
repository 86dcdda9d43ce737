"""`plateau`: a loss is no better than that of a constant prediction, or than at the start."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from sweeper.record.events import Event, Metrics
from sweeper.rules.base import Explanation, Finding, MetricName, RuleSettings, Share
from sweeper.rules.conditions.windows import LossWindow, Point, mean


class Plateau(RuleSettings):
    """A loss is no better than always predicting the class prior, or than it was at the start.

    During a warmup a healthy run is at chance too, so ``grace_steps`` has to be longer than your warmup.
    """

    name = "plateau"

    grace_steps: Annotated[int, Field(ge=0)] = 500

    metric: MetricName = "loss/train"
    prior: MetricName = "loss/prior"
    gain: Share = 0.02
    window: Annotated[int, Field(ge=1, le=999)] = 10

    @classmethod
    def needs(cls, settings: Mapping[str, Any]) -> list[frozenset[str]]:
        """Return what the rule reads: its metric."""
        return [frozenset({str(settings.get("metric"))})]

    def condition(self) -> PlateauCondition:
        """Return the condition that has to hold for the rule to fire."""
        return PlateauCondition(settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateauCondition:
    """The condition of `Plateau`.

    If the script reports the prior, which is the loss of always predicting the class prior on the same examples, the
    loss is divided by it report by report. This removes the noise of the examples, which both have in common.
    """

    settings: Plateau
    name: str = Plateau.name

    def start(self) -> LossWindow:
        """Return the state before the first event."""
        return LossWindow()

    def step(self, state: LossWindow, event: Event) -> tuple[LossWindow, Finding | None]:
        """Return the state after the event, and the finding at a report of the loss once the window is full."""
        settings = self.settings
        if not isinstance(event, Metrics) or not math.isfinite(event.values.get(settings.metric, math.nan)):
            return state, None
        loss, prior = event.values[settings.metric], event.values.get(settings.prior, math.nan)
        paired = math.isfinite(prior) and prior > 0
        # With a prior, the baseline is the prior itself, which is 1 in these units, and not the start of the run.
        state = state.with_value(event.step, loss / prior if paired else loss, settings.window)
        if len(state.first) < settings.window or (not paired and len(state.newest) < 2 * settings.window):
            return state, None
        newest = state.newest[-settings.window :]
        baseline = 1.0 if paired else mean(state.first)
        now = mean([value for _, value in newest])
        reason = functools.partial(self._explain, newest, now, baseline, paired=paired)
        return state, Finding(step=event.step, holds=now > baseline * (1 - settings.gain), reason=reason)

    def _explain(self, newest: Sequence[Point], now: float, baseline: float, *, paired: bool) -> Explanation:
        metric, span = self.settings.metric, f"over steps {newest[0][0]} to {newest[-1][0]}"
        if paired:
            text = (
                f"{metric} is no better than always predicting the class prior: {span} it is {now:.4g} times that loss"
            )
        else:
            text = f"{metric} is no better than at the start: {span} it is {now:.4g}, and at the start {baseline:.4g}"
        return text, {
            "statistic": f"{metric} / {self.settings.prior}" if paired else metric,
            "window": [list(point) for point in newest],
            "mean": now,
            "threshold": baseline * (1 - self.settings.gain),
            "baseline": baseline,
        }
