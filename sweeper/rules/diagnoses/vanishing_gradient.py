"""`vanishing_gradient`: the gradient no longer reaches the first layers, and the run has learned nothing by it."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Annotated

from pydantic import Field, field_validator

from sweeper.mistakes import refused
from sweeper.record.profile import FEWEST_LAYERS
from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals
from sweeper.rules.words import beside

TWO_A_QUARTER = 2 * FEWEST_LAYERS
"""From so many layers on, either end of reach is the mean of two layers or more."""


FEWEST, CLEARLY = 3, 0.1
"""So many observations are enough, fewer than the window, if reach is below this part of the threshold at each."""


def is_thin(signals: Signals) -> bool:
    """Return whether `below_thin` is the threshold: for a network of few layers, and where no loss is reported."""
    if not signals.loss.count:
        return True  # nothing speaks for the run, so more has to speak against it
    if signals.watching is None:
        return False
    networks = signals.watching.networks or (0,) * len(signals.watching.layers)
    return max((networks.count(one) for one in set(networks)), default=0) < TWO_A_QUARTER


class VanishingGradient(Diagnosis):
    """The median of ``reach`` over ``window`` observations is under ``below``, and the run gains nothing.

    A network of fewer than eight layers has one layer at either end, whose gradient differs for many reasons: there
    ``below_thin`` counts, and where no training loss is reported. With ``of_start``, reach under that part of its level
    at the start counts too.
    """

    name = "vanishing_gradient"
    effect = Effect.STOPS
    source = "Mosbach et al. 2021, On the Stability of Fine-tuning BERT: failed runs have vanishing gradients"
    advice = "lower the peak learning rate, lengthen the warmup, or use normalisation, residual paths or another start"
    reads = (frozenset({"reach"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    below: Part = 0.005
    below_thin: Part = 3e-4
    of_start: Part | None = None
    window: Annotated[int, Field(ge=1, le=99)] = 5
    grace_steps: Annotated[int, Field(ge=0)] = 0

    @field_validator("window")
    @classmethod
    def _has_a_middle(cls, window: int) -> int:
        if window % 2 == 0:
            raise refused("an odd number, so that the median is an observation")
        return window

    def judge(self, signals: Signals) -> Reason | None:
        """Return that the gradient is gone, where the run does not learn, and did not blow up before."""
        return None if signals.blown else self.found(signals)

    def found(self, signals: Signals) -> Reason | None:
        """Return that the gradient is gone, whatever the cause."""
        reach, below = self.statistic(signals), self.threshold(signals)
        if not reach < below or signals.progressing:
            return None
        return functools.partial(self._told, signals, reach, below)

    def statistic(self, signals: Signals) -> float:
        """Return the reach that is compared with the threshold; NaN before there are enough observations.

        The median over the window, or ten times the largest of the newest three, where that is less: reach that is far
        below the threshold does not have to last for the whole window.
        """
        reach = signals.window("reach", self.window)
        fewest = min(self.window, FEWEST)
        if len(reach) < fewest:
            return math.nan
        soon = max(reach[-fewest:]) / CLEARLY
        return min(statistics.median(reach), soon) if len(reach) == self.window else soon

    def threshold(self, signals: Signals) -> float:
        """Return the threshold for this network: `below` or `below_thin`, or that of the start if it is higher."""
        at_start = 0.0 if self.of_start is None else self.of_start * signals.reach.start
        return max(self.below_thin if is_thin(signals) else self.below, at_start)

    @staticmethod
    def _told(signals: Signals, reach: float, below: float) -> Told:
        newest, watching = list(signals.newest), signals.watching
        shown, bound = beside(reach, below)
        text = f"the gradient no longer reaches the first layers: reach is {shown}, below {bound}"
        evidence: dict[str, object] = {
            "statistic": "reach",
            "window": [[one.step, one.reach] for one in newest[-5:]],
            "median": reach,
            "threshold": below,
            "margin": below / reach if reach else float("inf"),
        }
        first = newest[-1].reaches
        if watching is not None and 0 < first < len(watching.layers):
            name = watching.layers[first]
            evidence["reaches"] = f"layer {first} of {len(watching.layers)} ({name}), not 0"
            text += f"; it reaches layer {first} of {len(watching.layers)}, {name}"
        text += f"; {signals.gain_text()}"
        return text, {**evidence, **signals.gain_evidence()}
