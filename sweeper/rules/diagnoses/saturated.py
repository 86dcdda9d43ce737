"""`saturated`: most activations of a layer are at the limits of a sigmoid or a tanh, where the slope is 0."""

from __future__ import annotations

import functools

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

WINDOW = 3


class Saturated(Diagnosis):
    """In some layer, at least ``share`` of the activations are within 1% of a limit, and the run does not learn."""

    name = "saturated"
    effect = Effect.WARNS
    source = "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"
    advice = "scale the inputs, start with smaller weights, or lower the learning rate"
    reads = (frozenset({"activations"}),)

    share: Share = 0.8

    def judge(self, signals: Signals) -> Reason | None:
        """Return the share of saturated activations, if the run does not learn and did not blow up before."""
        return None if signals.blow_up else self.judge_any_cause(signals)

    def judge_any_cause(self, signals: Signals) -> Reason | None:
        """Return the share of saturated activations, if the run does not learn, even if it blew up before."""
        share = signals.activation("saturated", WINDOW)
        if not share >= self.share or signals.is_learning:
            return None
        return functools.partial(self._explain, signals, share)

    @staticmethod
    def _explain(signals: Signals, share: float) -> Explanation:
        text = f"{share:.0%} of the activations of a layer are at the limits of a sigmoid or a tanh; "
        text += signals.gain_text()
        return text, {"statistic": "saturated activations", "value": share, **signals.gain_evidence()}
