"""`oscillating`: the loss is noisy and gains little."""

from __future__ import annotations

import functools

from sweeper.rules.base import Explanation, Positive, Reason
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals


class Oscillating(Diagnosis):
    """The noise of the loss is above the share ``swing`` of its start, and the loss gained nothing recently."""

    name = "oscillating"
    effect = Effect.WARNS
    source = "Zhang et al. 2021, AUTOTRAINER: oscillating loss"
    advice = "lower the learning rate, or use larger batches"
    reads = (frozenset({"loss"}),)

    swing: Positive = 0.5

    def judge(self, signals: Signals) -> Reason | None:
        """Return the noise of the loss."""
        loss = signals.loss
        if loss.count < 4 * loss.window or not signals.is_nonnegative or loss.start <= 0 or signals.score_improved:
            return None
        if not loss.noise > self.swing * loss.start or loss.fell_by(0.25) > 1:
            return None
        return functools.partial(self._explain, signals)

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        loss = signals.loss
        text = f"{signals.loss_name} is noisy: its standard deviation is {loss.noise:.3g} around {loss.level():.4g}, "
        text += f"and it began at {loss.start:.4g}"
        return text, {"statistic": signals.loss_name or "loss", "noise": loss.noise, "mean": loss.level()}
