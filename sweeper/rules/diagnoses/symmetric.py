"""`symmetric`: all units of a layer have the same weights, so they compute the same and stay equal."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals

FEWEST = 3
"""Observations at which units were compared: by then they have come apart if they can."""


class Symmetric(Diagnosis):
    """In at least ``share`` of the inner layers all units have the same weights after updates, and nothing is learned.

    Weights that start equal have equal gradients, so each such layer is as good as one unit. Layers that start at zero
    by design, as in LoRA, come apart with their first updates.
    """

    name = "symmetric"
    effect = Effect.STOPS
    source = "Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4: initial weights have to break symmetry"
    advice = "start with random weights, as PyTorch's layers do, and leave only biases and adapters at a constant"
    reads = (frozenset({"update_ratio"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.03
    share: Part = 0.5

    def judge(self, signals: Signals) -> Reason | None:
        """Return how many layers have equal units, where the run does not learn in spite of it."""
        if signals.compared < FEWEST or not signals.equal_units >= self.share or signals.progressing:
            return None
        return functools.partial(self._told, signals)

    @staticmethod
    def _told(signals: Signals) -> Told:
        share = signals.equal_units
        text = f"in {share:.0%} of the inner layers all units have the same weights, after updates too; "
        evidence = {"statistic": "layers with equal units", "value": share}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
