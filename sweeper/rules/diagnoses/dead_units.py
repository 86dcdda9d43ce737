"""`dead_units`: units whose activation is 0 for every example, so many that little can pass."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals

WINDOW = 3


class DeadUnits(Diagnosis):
    """In some layer at least ``share`` of the units are 0 for every example, or ``mean`` of them over all layers."""

    name = "dead_units"
    effect = Effect.STOPS
    source = "Lu et al. 2020, Dying ReLU and Initialization; AUTOTRAINER takes 0.7 of the gradient, BTTackler 0.5"
    advice = "lower the learning rate, look at the biases and at the start, or use a leaky activation"
    reads = (frozenset({"activations"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    share: Part = 0.95
    mean: Part = 0.8

    def judge(self, signals: Signals) -> Reason | None:
        """Return the share of dead units, where the run does not learn in spite of it, and did not blow up before."""
        return None if signals.blown else self.found(signals)

    def found(self, signals: Signals) -> Reason | None:
        """Return the share of dead units, whatever the cause."""
        worst, mean = signals.activation("dead", WINDOW), signals.activation("dead_mean", WINDOW)
        if not (worst >= self.share or mean >= self.mean) or signals.progressing:
            return None
        return functools.partial(self._told, signals, worst, mean)

    @staticmethod
    def _told(signals: Signals, worst: float, mean: float) -> Told:
        text = f"units are dead: {worst:.0%} of one layer, {mean:.0%} of all, are 0 for every example; "
        evidence = {"statistic": "dead units", "largest": worst, "mean": mean}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
