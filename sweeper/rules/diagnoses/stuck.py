"""`stuck`: late in the plan, the run is still no better than at its start."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import LEARNED, Signals

CONSTANT_FOR = 3
"""Number of observations, or of evaluations, that have to agree."""
SCORES = 0.02
ABOVE, REACHED = 1.5, 3e-4


class Stuck(Diagnosis):
    """After the share ``after`` of the plan, neither the loss nor the score is better than at the start.

    This holds after ``unmoved_after`` of the plan if the loss has not changed at all, and at once if the input of the
    last layer is the same for every example, so that its spread is below ``spread``.

    The test is late on purpose: with a long warmup, or on tasks such as sparse parity, a run is at chance for a third
    of its steps and then learns (Barak et al. 2022, Hidden Progress in Deep Learning).
    """

    name = "stuck"
    effect = Effect.STOPS
    source = "Barak et al. 2022, Hidden Progress in Deep Learning: SGD Learns Parities Near the Computational Limit"
    advice = "check the data and the labels first, then raise the learning rate or train for longer"
    reads = (frozenset({"loss", "score"}),)

    patience: Annotated[int, Field(ge=1, le=1000)] = 1
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.05
    after: Share = 0.5
    unmoved_after: Share = 0.25
    gain: Share = 0.03
    without_loss: Share = 0.65
    spread: Share = 1e-4

    def wait(self, signals: Signals) -> float:
        """Return 0 if the input of the last layer is constant, else `lasting`."""
        return 0.0 if signals.activation("spread", CONSTANT_FOR) < self.spread else self.lasting

    def judge(self, signals: Signals) -> Reason | None:
        """Return how little the run gained, if it did not blow up before."""
        return None if signals.blow_up else self.judge_any_cause(signals)

    def judge_any_cause(self, signals: Signals) -> Reason | None:
        """Return how little the run gained, even if it blew up before."""
        if signals.newest and signals.newest[-1].not_finite > 0:
            return None
        if signals.is_constant and signals.plan_done >= self.unmoved_after:
            return functools.partial(self._explain, signals)
        if signals.score_improved or (signals.gain >= LEARNED and signals.is_nonnegative):
            return None
        constant = signals.activation("spread", CONSTANT_FOR) < self.spread
        # If the run has diverged or its gradient has vanished, this is the reason for the constant input.
        off = signals.loss_over_baseline > ABOVE or min(signals.window("reach", 1), default=1.0) < REACHED
        if constant and not off and not signals.gain >= LEARNED:
            return functools.partial(self._constant, signals)
        if not signals.plan_done >= self.after:
            return None
        known = signals.loss.count >= 2 * signals.loss.window and signals.is_nonnegative
        without_score = signals.objective.count >= CONSTANT_FOR and signals.score_gain < SCORES
        if not signals.loss.count and not signals.plan_done >= self.without_loss:
            return None
        if not signals.is_falling and ((known and signals.gain < self.gain) or without_score):
            return functools.partial(self._explain, signals)
        return None  # a loss that falls, however slowly, is not stuck

    @staticmethod
    def _constant(signals: Signals) -> Explanation:
        spread = signals.activation("spread", CONSTANT_FOR)
        text = f"the input of the last layer is the same for every example (spread {spread:.1e}): {signals.gain_text()}"
        return text, {"statistic": "spread", "value": spread, **signals.gain_evidence()}

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        text = (
            f"the run is no better than at the start after {signals.plan_done:.0%} of the plan: {signals.gain_text()}"
        )
        return text, {"statistic": signals.loss_name or signals.objective_name, **signals.gain_evidence()}
