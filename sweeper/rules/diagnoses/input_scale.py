"""`input_scale`: what enters the network is far from the order of 1."""

from __future__ import annotations

import functools

from sweeper.rules.base import Explanation, Positive, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

WINDOW = 3


class InputScale(Diagnosis):
    """The root mean square of an input is above ``above`` or under 1 over it, and the run does not learn."""

    name = "input_scale"
    effect = Effect.WARNS
    source = "LeCun et al. 1998, Efficient BackProp: inputs of mean 0 and variance 1"
    advice = "scale the inputs to a mean of 0 and a standard deviation of 1"
    reads = (frozenset({"activations"}),)

    above: Positive = 20.0

    def judge(self, signals: Signals) -> Reason | None:
        """Return the scale of the inputs."""
        scale = signals.activation("input_scale", WINDOW)
        if not (scale > self.above or scale < 1 / self.above) or signals.progressing:
            return None
        return functools.partial(self._explain, signals, scale)

    @staticmethod
    def _explain(signals: Signals, scale: float) -> Explanation:
        text = f"the inputs are of the order of {scale:.2g}, where 1 is expected; {signals.gain_text()}"
        return text, {"statistic": "input scale", "value": scale, **signals.gain_evidence()}
