"""`symmetric`: all units of a layer have the same weights, so they compute the same and stay equal."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

FEWEST = 3
"""Number of observations at which units are compared: units that can become different have done so by then."""


class Symmetric(Diagnosis):
    """In at least ``share`` of the inner layers, all units have the same weights after updates, and nothing is learned.

    Weights that start equal have equal gradients, so that such a layer is no better than one unit. The units of layers
    that start at zero by design, as in LoRA, become different with the first updates.
    """

    name = "symmetric"
    effect = Effect.STOPS
    source = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4: initial weights have to break symmetry"
    advice = "initialize the weights at random, as PyTorch's layers do, and only biases and adapters with a constant"
    reads = (frozenset({"update_ratio"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.03
    share: Share = 0.5

    def judge(self, signals: Signals) -> Reason | None:
        """Return the share of layers with equal units, if the run does not learn."""
        if signals.comparisons < FEWEST or not signals.equal_units >= self.share or signals.is_learning:
            return None
        return functools.partial(self._explain, signals)

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        share = signals.equal_units
        text = f"in {share:.0%} of the inner layers all units have the same weights, even after updates; "
        evidence = {"statistic": "layers with equal units", "value": share}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
