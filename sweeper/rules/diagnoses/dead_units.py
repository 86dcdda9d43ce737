"""`dead_units`: most units of a layer have an activation of 0 for every example."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

WINDOW = 3


class DeadUnits(Diagnosis):
    """At least the share ``share`` of a layer's units, or ``mean`` of all units, are 0 for every example."""

    name = "dead_units"
    effect = Effect.STOPS
    source = "Lu et al. 2020, Dying ReLU and Initialization; AUTOTRAINER takes 0.7 of the gradient, BTTackler 0.5"
    advice = "lower the learning rate, check the biases and the initialization, or use a leaky activation"
    reads = (frozenset({"activations"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    share: Share = 0.95
    mean: Share = 0.8

    def judge(self, signals: Signals) -> Reason | None:
        """Return the share of dead units, if the run does not learn and did not blow up before."""
        return None if signals.blow_up else self.judge_any_cause(signals)

    def judge_any_cause(self, signals: Signals) -> Reason | None:
        """Return the share of dead units, if the run does not learn, even if it blew up before."""
        worst, mean = signals.activation("dead", WINDOW), signals.activation("dead_mean", WINDOW)
        if not (worst >= self.share or mean >= self.mean) or signals.is_learning:
            return None
        return functools.partial(self._explain, signals, worst, mean)

    @staticmethod
    def _explain(signals: Signals, worst: float, mean: float) -> Explanation:
        text = f"units are dead: {worst:.0%} of the units of one layer and {mean:.0%} of all are 0 for every example; "
        evidence = {"statistic": "dead units", "largest": worst, "mean": mean}
        return text + signals.gain_text(), {**evidence, **signals.gain_evidence()}
