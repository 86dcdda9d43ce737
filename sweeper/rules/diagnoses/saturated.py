"""`saturated`: most activations stand at the limits of a sigmoid or a tanh, where they have no slope."""

from __future__ import annotations

import functools

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import Signals

WINDOW = 3


class Saturated(Diagnosis):
    """In some layer at least ``share`` of the activations are within 1% of a limit, and the run does not learn."""

    name = "saturated"
    effect = Effect.WARNS
    source = "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"
    advice = "scale the inputs, start with smaller weights, or lower the learning rate"
    reads = (frozenset({"activations"}),)

    share: Part = 0.8

    def judge(self, signals: Signals) -> Reason | None:
        """Return the share of saturated activations, where the run did not blow up before."""
        return None if signals.blown else self.found(signals)

    def found(self, signals: Signals) -> Reason | None:
        """Return the share of saturated activations, whatever the cause."""
        share = signals.activation("saturated", WINDOW)
        if not share >= self.share or signals.progressing:
            return None
        return functools.partial(self._told, signals, share)

    @staticmethod
    def _told(signals: Signals, share: float) -> Told:
        text = f"{share:.0%} of the activations of a layer are at their limits; {signals.gain_text()}"
        return text, {"statistic": "saturated activations", "value": share, **signals.gain_evidence()}
