"""`vanishing_gradient`: the gradient no longer reaches the first layers, and the run does not learn."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Annotated

from pydantic import Field

from sweeper.record.values.depth_profile import FEWEST_LAYERS
from sweeper.rules.base import Explanation, Reason, Share, Window, compared
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

TWO_A_QUARTER = 2 * FEWEST_LAYERS
"""From this number of layers on, reach compares the means of at least two layers at either end."""

FEWEST, CLEARLY = 3, 0.1
"""The first number of observations is enough if reach is below the second share of the threshold at each of them."""


def is_thin(signals: Signals) -> bool:
    """Return whether `below_thin` is the threshold: if the network has few layers, or no loss is reported."""
    if not signals.loss.count:
        return True  # without a loss there is less evidence, so the threshold is stricter
    if signals.watching is None:
        return False
    networks = signals.watching.networks or (0,) * len(signals.watching.layers)
    return max((networks.count(one) for one in set(networks)), default=0) < TWO_A_QUARTER


class VanishingGradient(Diagnosis):
    """The median of ``reach`` over ``window`` observations is below ``below``, and the run gains nothing.

    In a network of fewer than eight layers, reach compares only two layers, and their gradients differ for many
    reasons. There, and if no training loss is reported, the threshold is ``below_thin``. With ``of_start``, the rule
    also fires if reach is below that share of its level at the start.
    """

    name = "vanishing_gradient"
    effect = Effect.STOPS
    source = "Mosbach et al. 2021, On the Stability of Fine-tuning BERT: failed runs have vanishing gradients"
    advice = "lower the peak learning rate, use a longer warmup, or add normalisation or residual connections"
    reads = (frozenset({"reach"}),)
    lower_thresholds = ("below", "below_thin", "of_start")

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    below: Share = 0.005
    below_thin: Share = 3e-4
    of_start: Share | None = None
    window: Window = 5
    grace_steps: Annotated[int, Field(ge=0)] = 0

    def judge(self, signals: Signals) -> Reason | None:
        """Return how low reach is, if the run does not learn and did not blow up before."""
        return None if signals.blow_up else self.judge_any_cause(signals)

    def judge_any_cause(self, signals: Signals) -> Reason | None:
        """Return how low reach is, if the run does not learn, even if it blew up before."""
        reach, below = self.statistic(signals), self.threshold(signals)
        if not reach < below or signals.is_learning:
            return None
        # The reason shows what was observed, which is below the threshold whenever the statistic is.
        return functools.partial(self._explain, signals, statistics.median(signals.window("reach", self.window)), below)

    def statistic(self, signals: Signals) -> float:
        """Return the reach that is compared with the threshold; NaN before there are enough observations.

        It is the median over the window, or ten times the largest of the newest three if that is less: reach far below
        the threshold does not have to last for the whole window.
        """
        reach = signals.window("reach", self.window)
        fewest = min(self.window, FEWEST)
        if len(reach) < fewest:
            return math.nan
        soon = max(reach[-fewest:]) / CLEARLY
        return min(statistics.median(reach), soon) if len(reach) == self.window else soon

    def threshold(self, signals: Signals) -> float:
        """Return the threshold for this network: `below` or `below_thin`, or that from the start if it is higher."""
        at_start = 0.0 if self.of_start is None else self.of_start * signals.reach.start
        return max(self.below_thin if is_thin(signals) else self.below, at_start)

    @staticmethod
    def _explain(signals: Signals, reach: float, below: float) -> Explanation:
        newest, watching = list(signals.newest), signals.watching
        shown, bound = compared(reach, below)
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
            text += f"; it gets only as far as layer {first} of {len(watching.layers)}, {name}"
        text += f"; {signals.gain_text()}"
        return text, {**evidence, **signals.gain_evidence()}
