"""`stuck`: late in the plan, the run is still no better than at its start."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Part
from sweeper.rules.diagnosis import Diagnosis, Effect, Reason, Told
from sweeper.rules.signals import LEARNED, Signals

CONSTANT_FOR = 3
"""Observations, or evaluations, that have to agree."""
SCORES = 0.02
ABOVE, REACHED = 1.5, 3e-4


class Stuck(Diagnosis):
    """After ``after`` of the plan, neither the loss nor the score is better than at the start.

    After ``unmoved_after`` of the plan where the loss has not changed at all. At once where the input of the last layer
    is the same for every example: its spread is under ``spread``.

    Late on purpose: a long warmup and tasks such as sparse parity stand at chance for a third of their steps and then
    learn (Barak et al. 2022, Hidden Progress in Deep Learning).
    """

    name = "stuck"
    effect = Effect.STOPS
    source = "Barak et al. 2022, Hidden Progress in Deep Learning: SGD Learns Parities Near the Computational Limit"
    advice = "look at the data and the labels first, then raise the learning rate or lengthen the training"
    reads = (frozenset({"loss", "score"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.05
    after: Part = 0.5
    unmoved_after: Part = 0.25
    gain: Part = 0.03
    without_loss: Part = 0.65
    spread: Part = 1e-4

    def wait(self, signals: Signals) -> float:
        """Return that a constant input of the last layer needs no wait, and a loss that stands does."""
        return 0.0 if signals.activation("spread", CONSTANT_FOR) < self.spread else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how little was gained, where the run did not blow up before."""
        return None if signals.blown else self.found(signals)

    def found(self, signals: Signals) -> Reason | None:
        """Return how little was gained, whatever the cause."""
        if signals.newest and signals.newest[-1].not_finite > 0:
            return None
        if signals.unmoved and signals.share >= self.unmoved_after:
            return functools.partial(self._told, signals)
        if signals.scoring or (signals.gain >= LEARNED and signals.natural):
            return None
        constant = signals.activation("spread", CONSTANT_FOR) < self.spread
        # A run that has diverged, or whose gradient has vanished, has a constant input there by that.
        off = signals.excess > ABOVE or min(signals.window("reach", 1), default=1.0) < REACHED
        if constant and not off and not signals.gain >= LEARNED:
            return functools.partial(self._constant, signals)
        if not signals.share >= self.after:
            return None
        known = signals.loss.count >= 2 * signals.loss.window and signals.natural
        without_score = signals.objective.count >= CONSTANT_FOR and signals.scored < SCORES
        if not signals.loss.count and not signals.share >= self.without_loss:
            return None
        if not signals.falling and ((known and signals.gain < self.gain) or without_score):
            return functools.partial(self._told, signals)
        return None  # a loss that falls, however slowly, is not stuck

    @staticmethod
    def _constant(signals: Signals) -> Told:
        spread = signals.activation("spread", CONSTANT_FOR)
        text = f"what reaches the last layer is the same for every example (spread {spread:.1e}): {signals.gain_text()}"
        return text, {"statistic": "spread", "value": spread, **signals.gain_evidence()}

    @staticmethod
    def _told(signals: Signals) -> Told:
        text = f"no better than at the start after {signals.share:.0%} of the plan: {signals.gain_text()}"
        return text, {"statistic": signals.loss_name or signals.objective_name, **signals.gain_evidence()}
