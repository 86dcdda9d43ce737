"""`zero_gradient`: most of the gradient of a layer is exactly 0."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sweeper.record.events import Event, Observation
from sweeper.rules.base import Explanation, Finding, RuleSettings, Window
from sweeper.rules.conditions.windows import ObservationWindow


class ZeroGradient(RuleSettings):
    """In at least one layer, a share of at least ``share`` of the gradient is exactly 0."""

    name = "zero_gradient"
    reads = (frozenset({"gradient_zero"}),)

    window: Window = 5
    share: Annotated[float, Field(gt=0, le=1)] = 0.95

    def condition(self) -> ZeroGradientCondition:
        """Return the condition that has to hold for the rule to fire."""
        return ZeroGradientCondition(settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroGradientCondition:
    """The condition of `ZeroGradient`."""

    settings: ZeroGradient
    name: str = ZeroGradient.name

    def start(self) -> ObservationWindow:
        """Return the state before the first event."""
        return ObservationWindow()

    def step(self, state: ObservationWindow, event: Event) -> tuple[ObservationWindow, Finding | None]:
        """Return the state after the event, and the finding at an observation once the window is full."""
        if not isinstance(event, Observation) or math.isnan(event.gradient_zero):
            return state, None
        state = state.with_value(event.step, event.gradient_zero, self.settings.window)
        if len(state.newest) < self.settings.window:
            return state, None
        reason = functools.partial(self._explain, state)
        return state, Finding(step=event.step, holds=state.median >= self.settings.share, reason=reason)

    def _explain(self, shares: ObservationWindow) -> Explanation:
        text = (
            f"units are dead: {shares.median:.0%} of the gradient of one layer is exactly 0 (median over "
            f"{shares.span()}), and the threshold is {self.settings.share:.0%}"
        )
        return text, shares.evidence("gradient_zero", self.settings.share)
