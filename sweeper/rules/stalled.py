"""The rule `stalled`: the gradient no longer reaches the first layers, and stays away.

It reads `reach` (see `record.profile`). A single look is not trusted: a learner dips now and then, and a collapse can
leak; the median over a window of looks sees through both. No verdict falls within the grace period: in a young run the
schedule has hardly moved the weights.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from sweeper.record.events import Event, Observation
from sweeper.rules.decision import Decision

FIRST_LOOKS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StalledState:
    """The looks at the start of the run, and the newest ones: (step, reach)."""

    first: tuple[float, ...] = ()
    window: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalled:
    """Condemns a trial when the median of `reach` over `window` looks is under `below`, from `grace_steps` on."""

    below: float
    window: int
    grace_steps: int

    @property
    def name(self) -> str:
        """The rule's name in a sweep file."""
        return "stalled"

    def start(self) -> StalledState:
        """No look yet."""
        return StalledState()

    def step(self, state: StalledState, event: Event) -> tuple[StalledState, Decision | None]:
        """Take in an observation; anything else, and a look whose reach is undefined, passes by."""
        if not isinstance(event, Observation) or math.isnan(event.reach):
            return state, None
        state = StalledState(
            first=state.first if len(state.first) == FIRST_LOOKS else (*state.first, event.reach),
            window=(*state.window, (event.step, event.reach))[-self.window :],
        )
        if len(state.window) < self.window or event.step < self.grace_steps:
            return state, None
        middle = statistics.median(reach for _, reach in state.window)
        return state, self._decision(state, event, middle) if middle < self.below else None

    def _decision(self, state: StalledState, event: Observation, middle: float) -> Decision:
        began = statistics.median(state.first)
        reason = (
            f"the gradient no longer reaches the first layers: the median of reach over the looks at steps "
            f"{state.window[0][0]} to {event.step} is {middle:.1e}, below {self.below:g} (the run began at {began:.1e})"
        )
        evidence = {
            "statistic": "reach",
            "window": [list(look) for look in state.window],
            "median": middle,
            "threshold": self.below,
            "margin": self.below / middle if middle else math.inf,
            "at_start": began,
            "update_ratio": event.update_ratio,
            "learning_rate": event.learning_rate,
        }
        return Decision(rule=self.name, step=event.step, reason=reason, evidence=evidence)
