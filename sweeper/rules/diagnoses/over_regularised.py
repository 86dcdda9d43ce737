"""`over_regularised`: weight decay or a penalty has shrunk the weights so far that the output is constant."""

from __future__ import annotations

import functools

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import CLEARLY, CONSTANT, Signals

WINDOW = 3
EVALUATIONS = 3
LOST, SURE = 0.65, 3.0
"""A run lost its gain if less than this part is left, by so many standard errors."""


class OverRegularised(Diagnosis):
    """The weights are below ``shrunk`` times their norm at the start, and the run is no better than a constant.

    Or it has lost a third of its gain. Where the reported loss contains the penalty, it falls with the weights. Then
    the score decides, once the weights are below ``vanished`` times their norm at the start.
    """

    name = "over_regularised"
    effect = Effect.STOPS
    source = "Krogh and Hertz 1991, A Simple Weight Decay Can Improve Generalization: the decay competes with the loss"
    advice = "lower the weight decay, or the weight of the penalty in the loss"
    reads = (frozenset({"update_ratio"}), frozenset({"loss", "score"}))

    lasting: Part = 0.1
    shrunk: Part = 0.2
    vanished: Part = 0.02

    def judge(self, signals: Signals) -> Reason | None:
        """Return how far the weights have shrunk, where nothing is learned by them."""
        part = signals.weight("norm", WINDOW) / signals.start_norm
        if not part < self.shrunk or signals.watching is None or len(signals.watching.layers) < 2:  # noqa: PLR2004
            return None  # the weights of a single layer are small where there is little to learn
        constant = signals.gain < CONSTANT and not signals.scoring and not signals.falling
        if not (constant or self._is_losing(signals) or (part < self.vanished and self._scores_nothing(signals))):
            return None
        return functools.partial(self._told, signals, part)

    @staticmethod
    def _is_losing(signals: Signals) -> bool:
        loss = signals.loss
        sure = loss.level() - loss.best > SURE * loss.error
        return sure and signals.kept < LOST and not signals.scored >= CLEARLY and not signals.falling

    @staticmethod
    def _scores_nothing(signals: Signals) -> bool:
        return signals.objective.count >= EVALUATIONS and not signals.scoring

    @staticmethod
    def _told(signals: Signals, part: float) -> Told:
        text = f"the weights have shrunk to {part:.2g} of their norm at the start; {signals.gain_text()}"
        return text, {"statistic": "weight norm", "value": part, **signals.gain_evidence()}
