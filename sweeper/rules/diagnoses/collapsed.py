"""`collapsed`: the run had learned, and has lost its gain."""

from __future__ import annotations

import functools
from typing import Annotated

from pydantic import Field

from sweeper.rules.base import Explanation, Reason, Share
from sweeper.rules.diagnoses.base import Diagnosis, Effect
from sweeper.rules.signals.signals import Signals

SURE = 3.0
"""A difference counts if it is larger than this number of standard errors."""


class Collapsed(Diagnosis):
    """The loss had gained at least ``gain``, less than ``kept`` of that is left, and the loss does not fall again."""

    name = "collapsed"
    effect = Effect.STOPS
    source = "Mosbach et al. 2021: fine-tuning that fails late; PaLM (Chowdhery et al. 2022) on loss spikes"
    advice = "lower the learning rate from the step where the gain was lost, or clip the gradient"
    reads = (frozenset({"loss"}),)

    gain: Share = 0.1
    kept: Share = 0.25
    lasting: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def judge(self, signals: Signals) -> Reason | None:
        """Return the loss at the start, at its best, and now."""
        loss = signals.loss
        if not signals.gain >= self.gain or not signals.gain_kept < self.kept or signals.score_improved:
            return None
        if loss.level(1) - loss.level() > SURE * loss.error:
            return None  # the loss falls again
        if loss.level() - loss.best < SURE * loss.error:
            return None  # the best of many levels is low by chance
        return functools.partial(self._explain, signals)

    @staticmethod
    def _explain(signals: Signals) -> Explanation:
        loss, now = signals.loss, signals.loss.level()
        text = (
            f"the run has lost what it had learned: {signals.loss_name} began at {loss.start:.4g}, was {loss.best:.4g} "
            f"at step {loss.best_step}, and is now {now:.4g}"
        )
        return text, {
            "statistic": signals.loss_name or "loss",
            "mean": now,
            "start": loss.start,
            "best": loss.best,
            "at": loss.best_step,
        }
