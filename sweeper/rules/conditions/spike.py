"""`spike`: a loss or a gradient norm was far above the recent ones, and the sweep has `on_spike: rewind`."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sweeper.record.events import Event, Spiked
from sweeper.record.on_spike import OnSpike
from sweeper.rules.base import Explanation, Finding, Positive, RuleSettings


class Spike(RuleSettings):
    """The training process recorded a spike with a z-score above ``above``, and the sweep has ``on_spike: rewind``.

    ``on_spike: rewind`` lists the rule by itself. With another value of ``on_spike``, the rule never fires.
    """

    name = "spike"
    reads = (frozenset({"loss", "gradient_norm"}),)
    fires_by_default = False

    grace_steps: Annotated[int, Field(ge=0)] = 0
    above: Positive = 6.0

    def condition(self) -> SpikeCondition:
        """Return the condition that has to hold for the rule to fire."""
        return SpikeCondition(settings=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeCondition:
    """The condition of `Spike`. It has no state: the recorded spike has all values."""

    settings: Spike
    name: str = Spike.name

    def start(self) -> None:
        """Return the state before the first event."""

    def step(self, state: None, event: Event) -> tuple[None, Finding | None]:
        """Return the state after the event, and the finding at a spike."""
        if not isinstance(event, Spiked) or event.action != OnSpike.REWIND:
            return state, None
        holds = event.z > self.settings.above
        return state, Finding(step=event.step, holds=holds, reason=functools.partial(self._explain, event))

    def _explain(self, event: Spiked) -> Explanation:
        far = f", {event.z:.3g} sigma above {event.centre:.3g}" if math.isfinite(event.z) else ""
        text = f"{event.name} was {event.value:.3g} at step {event.step}{far}"
        return text, {
            "statistic": event.name,
            "value": event.value,
            "centre": event.centre,
            "scale": event.scale,
            "z": event.z,
            "threshold": self.settings.above,
            "action": event.action,
        }
