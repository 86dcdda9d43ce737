"""`exploding_gradient`: the gradient norm is far above its usual value."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sweeper.record.events import Event, Observation
from sweeper.rules.base import Explanation, Finding, Positive, RuleSettings, Window, compared
from sweeper.rules.conditions.windows import ObservationWindow


class ExplodingGradient(RuleSettings):
    """The gradient norm is above ``above``, or above ``times`` its median over the ``window`` observations before."""

    name = "exploding_gradient"
    reads = (frozenset({"gradient_norm"}),)

    window: Window = 5
    times: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 100.0
    above: Positive | None = None

    def condition(self) -> ExplodingGradientCondition:
        """Return the condition that has to hold for the rule to fire."""
        return ExplodingGradientCondition(settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplodingGradientCondition:
    """The condition of `ExplodingGradient`."""

    settings: ExplodingGradient
    name: str = ExplodingGradient.name

    def start(self) -> ObservationWindow:
        """Return the state before the first event."""
        return ObservationWindow()

    def step(self, state: ObservationWindow, event: Event) -> tuple[ObservationWindow, Finding | None]:
        """Return the state after the event, and the finding at an observation once the window is full."""
        if not isinstance(event, Observation) or math.isnan(event.gradient_norm) or event.skipped:
            return state, None
        norm, settings = event.gradient_norm, self.settings
        if len(state.newest) < settings.window:
            return state.with_value(event.step, norm, settings.window), None
        usual = settings.times * state.median
        threshold = usual if settings.above is None else min(usual, settings.above)
        holds = norm > threshold
        reason = functools.partial(self._explain, state, event, threshold)
        # A norm that explodes is left out, because it is no measure of the usual norm.
        after = state if holds else state.with_value(event.step, norm, settings.window)
        return after, Finding(step=event.step, holds=holds, reason=reason)

    @staticmethod
    def _explain(before: ObservationWindow, event: Observation, threshold: float) -> Explanation:
        norm, limit = compared(event.gradient_norm, threshold)
        text = f"the gradient explodes: its norm is {norm} at step {event.step}, above {limit}"
        return text, {**before.evidence("gradient_norm", threshold), "norm": event.gradient_norm}
