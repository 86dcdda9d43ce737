"""`input_scale`: the inputs of the network are very large or very small."""

from __future__ import annotations

import functools

from sweeper.rules.base import Explanation, Positive, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

WINDOW = 3


class InputScale(Diagnosis):
    """The root mean square of an input is above ``above`` or below 1 / ``above``, and the run does not learn."""

    name = "input_scale"
    effect = Effect.WARNS
    source = "LeCun et al. 1998, Efficient BackProp: inputs of mean 0 and variance 1"
    advice = "scale the inputs to a mean of 0 and a standard deviation of 1"
    reads = (frozenset({"activations"}),)

    above: Positive = 20.0

    def judge(self, signals: Signals) -> Reason | None:
        """Return the scale of the inputs, if the run does not learn."""
        scale = signals.activation("input_scale", WINDOW)
        if not (scale > self.above or scale < 1 / self.above) or signals.is_learning:
            return None
        return functools.partial(self._explain, signals, scale)

    @staticmethod
    def _explain(signals: Signals, scale: float) -> Explanation:
        size = "large" if scale > 1 else "small"
        text = f"the inputs are too {size}: their root mean square is {scale:.2g}, and should be about 1; "
        text += signals.gain_text()
        return text, {"statistic": "input scale", "value": scale, **signals.gain_evidence()}
