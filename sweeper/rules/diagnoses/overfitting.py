"""`overfitting`: the loss on held-out examples rises while the training loss falls."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import LEARNED, Signals

FEWEST = 5
UNSCORED = 0.02


class Overfitting(Diagnosis):
    """The held-out loss is above ``times`` its lowest value and above its first, while the training loss falls.

    Or after the share ``after`` of the plan, the score is still at its start, while the training loss falls.
    """

    name = "overfitting"
    effect = Effect.WARNS
    source = "Prechelt 1998, Early Stopping - But When?: generalisation loss"
    advice = "stop at the lowest held-out loss, add data or regularisation, or use a smaller model"
    reads = (frozenset({"held_out_loss"}),)

    after: Share = 0.8
    times: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 1.5

    def judge(self, signals: Signals) -> Reason | None:
        """Return how far the held-out loss is above its lowest value."""
        flat = signals.objective.count >= FEWEST and signals.score_gain < UNSCORED
        if flat and signals.plan_done >= self.after and signals.is_nonnegative and signals.gain >= LEARNED:
            return functools.partial(self._of_score, signals)
        held = signals.held_out
        if held.count < FEWEST or held.lowest <= 0 or not signals.gain_kept > 0.9:  # noqa: PLR2004 - most of the gain
            return None
        worse = held.last > self.times * held.lowest and held.last > held.first
        return functools.partial(self._explain, signals) if worse else None

    @staticmethod
    def _of_score(signals: Signals) -> Explanation:
        text = f"the training loss falls, but the score does not improve: {signals.gain_text()}"
        return text, {"statistic": signals.objective_name, **signals.gain_evidence()}

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        held = signals.held_out
        text = (
            f"{signals.held_out_name} rises while {signals.loss_name} falls: it was {held.lowest:.4g} at its lowest, "
        )
        text += f"and is now {held.last:.4g}"
        return text, {"statistic": signals.held_out_name or "", "value": held.last, "lowest": held.lowest}
